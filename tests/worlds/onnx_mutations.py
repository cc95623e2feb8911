"""Broken and hostile variants of ONNX files, the same ones for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.onnx.opening import open_onnx
from adapters.onnx.process.limits import OnnxLimits
from adapters.suspect import SuspectError

LIMITS = OnnxLimits(memory_bytes=2 << 30, start_timeout_s=10.0, predict_timeout_s=3.0)
SLACK_S = 8.0
"""Time beyond the limits for starting and ending the process on a busy machine, seconds."""

HUGE_SIZES = (0, -1, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63), 2**63 - 1)
LOCATIONS = (
    "../secret.bin", "/etc/passwd", "missing.bin", ".", "", "model.onnx", "a/../../secret.bin",
    "C:\\secret.bin", "*/_ORT_MEM_ADDR_/*", "x" * 5000, "kinprint-suspect-copy.onnx", "beside.bin",
    "kinprint-suspect-copy.onnx/x", "nul\0byte",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one variant."""

    mutation: str
    is_answered: bool
    message: str
    """The refusal, empty for an answer."""


def mutate(base: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return the name of a mutation and the variant."""
    names = sorted(BYTE_MUTATIONS) + 2 * sorted(MODEL_MUTATIONS)
    name = names[rng.integers(len(names))]
    if name in BYTE_MUTATIONS:
        return name, BYTE_MUTATIONS[name](base, rng)
    model = onnx.ModelProto.FromString(base)
    MODEL_MUTATIONS[name](model, rng)
    return name, model.SerializeToString()


def audit_variant(name: str, path: str) -> Outcome:
    """Open a variant and ask it once, as an audit would.

    Raises:
        Exception: Anything but a `SuspectError`, which is what no file may cause.
    """
    from pathlib import Path

    try:
        with open_onnx(Path(path), limits=LIMITS, device="cpu") as suspect:
            size = suspect.recipe.size or (32, 32)
            images = np.zeros((2, *size, suspect.recipe.channels or 3), np.uint8)
            suspect.predict(images[: suspect.batch_size])
    except SuspectError as error:
        return Outcome(mutation=name, is_answered=False, message=str(error))
    return Outcome(mutation=name, is_answered=True, message="")


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    array = bytearray(data)
    for position in rng.integers(0, 8 * len(array), rng.integers(1, 65)):
        array[position // 8] ^= 1 << (position % 8)
    return bytes(array)


def _flip_header_bits(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip_bits(data[:400], rng) + data[400:]


def _flip_tail_bits(data: bytes, rng: np.random.Generator) -> bytes:
    return data[:-400] + _flip_bits(data[-400:], rng)


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def _repeat_slice(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(rng.integers(0, len(data), 2))
    return data[:stop] + data[start:stop][:4096] * int(rng.integers(1, 50)) + data[stop:]


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    noise = rng.bytes(int(rng.integers(1, 200)))
    return data[:start] + noise + data[start + len(noise) :]


def _weights(model: onnx.ModelProto, rng: np.random.Generator) -> TensorProto:
    """Return one of the initializers, made if there is none."""
    if not model.graph.initializer:
        model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "spare"))
    weights: TensorProto = model.graph.initializer[rng.integers(len(model.graph.initializer))]
    return weights


def _node(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node: onnx.NodeProto = model.graph.node[rng.integers(len(model.graph.node))]
    return node


def _huge(rng: np.random.Generator) -> int:
    return HUGE_SIZES[rng.integers(len(HUGE_SIZES))]


def _huge_weight(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _weights(model, rng).dims.append(_huge(rng))


def _huge_weight_size(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weights = _weights(model, rng)
    for axis in range(len(weights.dims)):
        weights.dims[axis] = _huge(rng)


def _huge_input(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    axes = model.graph.input[0].type.tensor_type.shape.dim
    if axes:
        axes[rng.integers(len(axes))].dim_value = _huge(rng)


def _odd_weight_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _weights(model, rng).data_type = int(rng.integers(0, 40))


def _odd_input_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    model.graph.input[0].type.tensor_type.elem_type = int(rng.integers(0, 40))


def _nan_weights(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weights = _weights(model, rng)
    if weights.data_type == TensorProto.FLOAT:
        values = numpy_helper.to_array(weights).copy()
        values[...] = rng.choice([np.nan, np.inf, -np.inf])
        weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def _cycle(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node, later = _node(model, rng), _node(model, rng)
    if node.input:
        node.input[0] = later.output[0]


def _drop_node(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    del model.graph.node[rng.integers(len(model.graph.node))]


def _double_node(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    model.graph.node.append(_node(model, rng))


def _other_operator(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    operators = ("Loop", "If", "Scan", "Reshape", "Gather", "Tile", "Expand", "Resize", "Surprise",
                 "Range", "EPContext", "OneHot", "Pad", "Einsum", "NonZero")  # fmt: skip
    _node(model, rng).op_type = operators[rng.integers(len(operators))]


def _other_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = _node(model, rng)
    if node.attribute:
        attribute = node.attribute[rng.integers(len(node.attribute))]
        attribute.i = _huge(rng)
        for index in range(len(attribute.ints)):
            attribute.ints[index] = _huge(rng)


def _other_version(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    if model.opset_import:
        model.opset_import[0].version = int(rng.choice([0, 1, 6, 99, 2**62, -1]))
    model.ir_version = int(rng.choice([1, 3, 8, 99, 2**62]))


def _other_domain(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _node(model, rng).domain = str(rng.choice(["com.example", "com.microsoft", "ai.onnx.ml"]))


def _external(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    weights = _weights(model, rng)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=LOCATIONS[rng.integers(len(LOCATIONS))])
    for key in ("offset", "length"):
        if rng.random() < 0.5:
            weights.external_data.add(key=key, value=str(rng.choice([-1, 0, 2**31, 2**62, 10**30])))


def _nest(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(int(rng.integers(1, 20))):
        node = helper.make_node("If", ["condition"], ["out"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
        if graph.ByteSize() > 1 << 20:
            break
    model.graph.node.extend(graph.node)


def _rename_outputs(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    model.graph.output[0].name = str(rng.choice(["", "missing", model.graph.input[0].name, "\0"]))


def _bomb(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    size = numpy_helper.from_array(np.array([2**18, 2**18], np.int64), "bomb_size")
    model.graph.initializer.append(size)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["bomb_size"], ["bomb"]))
    model.graph.output.append(helper.make_tensor_value_info("bomb", TensorProto.FLOAT, None))


def _self_call(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Add a function that calls itself, and call it."""
    domain = "com.example"
    call = helper.make_node("Again", ["x"], ["y"], domain=domain)
    opsets = [helper.make_opsetid(domain, 1)]
    model.functions.append(helper.make_function(domain, "Again", ["x"], ["y"], [call], opsets))
    model.opset_import.append(opsets[0])
    node = _node(model, rng)
    node.op_type, node.domain = "Again", domain
    node.ClearField("attribute")


BYTE_MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "flip bits": _flip_bits,
    "flip header bits": _flip_header_bits,
    "flip tail bits": _flip_tail_bits,
    "truncate": _truncate,
    "repeat slice": _repeat_slice,
    "overwrite": _overwrite,
}

MODEL_MUTATIONS: dict[str, Callable[[onnx.ModelProto, np.random.Generator], None]] = {
    "huge weight": _huge_weight,
    "huge weight size": _huge_weight_size,
    "huge input": _huge_input,
    "odd weight type": _odd_weight_type,
    "odd input type": _odd_input_type,
    "nan weights": _nan_weights,
    "cycle": _cycle,
    "drop node": _drop_node,
    "double node": _double_node,
    "other operator": _other_operator,
    "other attribute": _other_attribute,
    "other version": _other_version,
    "other domain": _other_domain,
    "external data": _external,
    "nest": _nest,
    "rename outputs": _rename_outputs,
    "bomb": _bomb,
    "self call": _self_call,
}
