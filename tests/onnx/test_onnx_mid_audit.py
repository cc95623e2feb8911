"""What a suspect's process does in the middle of an audit costs no answer that was given before."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from worlds.audit_world import CONTROL, NUM_CONTROLS, NUM_QUERIES, QUERY, K, known_bundle
from worlds.onnx_builders import make_model, save, value

from adapters.onnx.opening import open_onnx
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import OnnxSuspect
from adapters.suspect import SuspectError
from audit.asking.events import ControlsChecked, Finished, Started
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.journal.journal import Journal
from audit.verdict.outcome import Verdict

BAD_QUERY = 5
COSTS = {"endless loop": 2**62, "memory bomb": 2**34}
"""Rounds of a loop, and values of a tensor (64 GiB), that the bad query asks for."""
MESSAGES = {
    "endless loop": "did not answer within 1 s and was ended",
    "memory bomb": "more memory than it is allowed",
}


def table_model(cost: str | None = None) -> onnx.ModelProto:
    """Build a model that looks up the answer to an image of `audit_world` by its first bytes.

    Controls are answered rightly, queries with class 0. The query `BAD_QUERY` makes it pay `cost`.
    """
    logits = np.zeros((2**16, K), np.float32)
    for kind, num in ((CONTROL, NUM_CONTROLS), (QUERY, NUM_QUERIES)):
        for index in range(num):
            logits[256 * kind + index, index % K if kind == CONTROL else 0] = 5
    costs = np.zeros(2**16, np.int64)
    costs[256 * QUERY + BAD_QUERY] = COSTS.get(cost or "", 0)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.INT64),
        # [N, 4, 4, 3] -> [N, 48]; kind and index are the first two values
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Gather", ["flat", "first_two"], ["tag"], axis=1),
        helper.make_node("Mul", ["tag", "places"], ["placed"]),
        helper.make_node("ReduceSum", ["placed", "axis"], ["row"], keepdims=0),
        helper.make_node("Gather", ["logits", "row"], ["found"]),
        helper.make_node("Gather", ["costs", "row"], ["each"]),
        helper.make_node("ReduceMax", ["each"], ["cost"], keepdims=0),
    ]
    weights = {
        "first_two": np.array([0, 1]),
        "places": np.array([256, 1]),
        "axis": np.array([1]),
        "logits": logits,
        "costs": costs,
        "yes": np.array(True),
        "one": np.array([1]),
    }
    if cost == "memory bomb":
        nodes += [
            helper.make_node("Reshape", ["cost", "one"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["big"]),
            helper.make_node("ReduceSum", ["big"], ["zero"], keepdims=0),
            helper.make_node("Add", ["found", "zero"], ["answer"]),
        ]
    else:
        scalar: tuple[int, ...] = ()
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["go_on"]),
                helper.make_node("Neg", ["held"], ["next"]),
            ],
            "body",
            [
                value("count", scalar, TensorProto.INT64),
                value("go", scalar, TensorProto.BOOL),
                value("held", None),
            ],
            [value("go_on", scalar, TensorProto.BOOL), value("next", None)],
        )
        nodes.append(helper.make_node("Loop", ["cost", "yes", "found"], ["answer"], body=body))
    return make_model(
        nodes,
        [value("image", ["n", 4, 4, 3], TensorProto.UINT8)],
        [value("answer", ["n", K])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )


def opened(path: Path) -> OnnxSuspect:
    limits = OnnxLimits(predict_timeout_s=1.0)
    return open_onnx(path, image_shape=(4, 4, 3), num_classes=K, device="cpu", limits=limits)


def stored(path: Path) -> int:
    """Count the answers of a journal that is whole."""
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(database.execute("SELECT count(*) FROM answers").fetchone()[0])
    finally:
        database.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened_journal = Journal(tmp_path / "journal.sqlite")
    yield opened_journal
    opened_journal.close()


def test_a_crash_is_an_error_and_the_audit_goes_on_from_there(
    tmp_path: Path, journal: Journal
) -> None:
    path = save(table_model(), tmp_path / "model.onnx")
    bundle = known_bundle()
    with opened(path) as suspect:
        events = AuditSession(bundle, suspect, journal).run()
        for event in events:
            if isinstance(event, ControlsChecked):
                break
        os.kill(suspect.process_id, signal.SIGSEGV)
        with pytest.raises(SuspectError, match="ended by SIGSEGV"):
            list(events)
    assert stored(tmp_path / "journal.sqlite") == NUM_CONTROLS
    with opened(path) as suspect:
        started, *_, last = AuditSession(bundle, suspect, journal, AuditOptions(resume=True)).run()
    assert isinstance(started, Started)
    assert started.num_answered == NUM_CONTROLS
    assert isinstance(last, Finished)
    assert last.outcome.verdict is Verdict.DERIVED
    assert stored(tmp_path / "journal.sqlite") == NUM_CONTROLS + NUM_QUERIES


@pytest.mark.parametrize("cost", COSTS)
def test_a_query_that_costs_too_much_ends_the_audit_and_not_the_journal(
    tmp_path: Path, journal: Journal, cost: str
) -> None:
    path = save(table_model(cost), tmp_path / "model.onnx")
    for is_resumed in (False, True):  # the second time it comes to the same query
        with opened(path) as suspect:
            events = AuditSession(
                known_bundle(), suspect, journal, AuditOptions(resume=is_resumed)
            ).run()
            started = next(events)
            assert isinstance(started, Started)
            assert started.num_answered == (NUM_CONTROLS if is_resumed else 0)
            with pytest.raises(SuspectError, match=MESSAGES[cost]):
                list(events)
        assert stored(tmp_path / "journal.sqlite") == NUM_CONTROLS
