"""Files that would cost for ever are refused unrun where they can be counted, and ended early."""

import time
from pathlib import Path

import onnx
import pytest
from onnx import helper
from worlds.onnx_builders import brightest_channel, colors, save

from adapters.onnx.opening import open_onnx
from adapters.onnx.process.functions import RecursiveFunctionError, num_nodes_written_out
from adapters.onnx.process.limits import OnnxLimits
from adapters.suspect import SuspectError

OWN = "com.example"


def with_functions(calls: list[list[str]]) -> onnx.ModelProto:
    """Build a classifier whose answer goes through the last of some functions.

    Args:
        calls: For each function the nodes, one after the other: another one's name or an operator.
    """
    model = brightest_channel()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(OWN, 1)]
    names = [f"F{number}" for number in range(len(calls))]
    for name, nodes in zip(names, calls, strict=True):
        values = ["x", *(f"t{step}" for step in range(1, len(nodes))), "y"]
        body = [
            helper.make_node(one, [before], [after], domain=OWN if one in names else "")
            for one, before, after in zip(nodes, values[:-1], values[1:], strict=True)
        ]
        model.functions.append(helper.make_function(OWN, name, ["x"], ["y"], body, opsets))
    model.opset_import.append(opsets[1])
    answer = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == answer else name for name in node.output]
    model.graph.node.append(helper.make_node(names[-1], ["before"], [answer], domain=OWN))
    return model


def doubling(depth: int) -> list[list[str]]:
    return [["Identity"] * 2, *([f"F{below}"] * 2 for below in range(depth - 1))]


def test_functions_that_become_a_thousand_million_nodes_are_refused(tmp_path: Path) -> None:
    path = save(with_functions(doubling(30)), tmp_path / "model.onnx")
    started = time.monotonic()
    with pytest.raises(SuspectError, match="nodes: expected at most 200000 with functions written"):
        open_onnx(path, device="cpu")
    assert time.monotonic() - started < OnnxLimits().load_timeout_s(path.stat().st_size)


def test_functions_that_call_one_another_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = save(with_functions([["F1"], ["Relu", "F0"]]), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match="functions: expected none that calls itself, got 'F"):
        open_onnx(path, device="cpu")


def test_functions_of_an_honest_file_are_read(tmp_path: Path) -> None:
    with open_onnx(
        save(with_functions(doubling(5)), tmp_path / "model.onnx"), device="cpu"
    ) as suspect:
        assert suspect.predict(colors((255, 0, 0), (0, 0, 9))).labels.tolist() == [0, 2]


def test_nodes_are_counted_as_if_written_out() -> None:
    def key(name: str) -> tuple[str, str, str]:
        return OWN, name, ""

    # c: 3 operators; b: c, c, 1 operator = 7; a: b, c = 10. The graph: a, b, 2 operators = 19.
    functions = {
        key("a"): [key("b"), key("c")],
        key("b"): [key("c"), key("c"), key("Relu")],
        key("c"): [key("Relu")] * 3,
        key("never called"): [key("never called")],
    }
    called = [key("a"), key("b"), key("Relu"), key("Relu")]
    assert num_nodes_written_out(called, functions, most=100) == 19
    assert num_nodes_written_out(called, functions, most=5) == 6
    with pytest.raises(RecursiveFunctionError, match="never called"):
        num_nodes_written_out([key("never called")], functions, most=100)


def test_functions_nested_deeper_than_any_stack_are_counted() -> None:
    functions = {("", f"F{n}", ""): [("", f"F{n - 1}", "")] for n in range(1, 50_000)}
    functions["", "F0", ""] = [("", "Relu", "")] * 2
    assert num_nodes_written_out([("", "F49999", "")], functions, most=9) == 2


def test_small_files_get_less_time_than_large_ones() -> None:
    limits = OnnxLimits()
    # 15 s and a second for each 20 MB; at most the 60 s that starting has.
    assert limits.load_timeout_s(0) == 15
    assert limits.load_timeout_s(200_000_000) == 25
    assert limits.load_timeout_s(2_000_000_000) == 60
    # 30 s, a second for each 10 MB, half a second for each image; at most a batch's 120 s.
    assert limits.first_timeout_s(0, 2) == 31
    assert limits.first_timeout_s(100_000_000, 64) == 72
    assert limits.first_timeout_s(2_000_000_000, 2) == 120
    # Who sets less gets less.
    assert OnnxLimits(predict_timeout_s=1.0).first_timeout_s(0, 2) == 1
