"""Small ONNX models whose answers can be worked out by hand.

`brightest_channel` has one class per channel and the channel's mean as its logit, so an image of
one colour (r, g, b) has the logits ``((r/255 - mean_r) / std_r, ...)``. `bright_or_dark` has the
logits (m, -m) for the mean m of a single channel.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

Shape = Sequence[int | str | None]

TAILS: dict[str, tuple[tuple[str, dict[str, int]], ...]] = {
    "logits": (),
    "probabilities": (("Softmax", {"axis": 1}),),
    "log_probabilities": (("LogSoftmax", {"axis": 1}),),
    "log of probabilities": (("Softmax", {"axis": 1}), ("Log", {})),
    "labels": (("ArgMax", {"axis": 1, "keepdims": 0}),),
}
"""Operators after the logits."""


def colors(*rgb: tuple[int, int, int], side: int = 8) -> NDArray[np.uint8]:
    """Return one image per colour, ``[N, side, side, 3]``."""
    return np.array(rgb, dtype=np.uint8)[:, None, None, :].repeat(side, 1).repeat(side, 2)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model."""
    path.write_bytes(model.SerializeToString())
    return path


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Join the parts of a model."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=ir_version, producer_name="kinprint-tests"
    )


def value(name: str, shape: Shape | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return the declaration of an input or output."""
    return helper.make_tensor_value_info(name, dtype, shape)


def brightest_channel(
    *,
    shape: Shape | None = ("n", 3, 8, 8),
    channels_last: bool = False,
    dtype: int = TensorProto.FLOAT,
    tail: str = "logits",
    keep_spatial_axes: bool = False,
    opset: int = 17,
    ir_version: int = 8,
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    """Build a model whose logits are the means of the channels.

    Args:
        shape: Declared shape of the input.
        channels_last: Whether the input is ``[N, H, W, C]``.
        dtype: Type of the input; the output is float, or float16 for a float16 input.
        tail: Key of `TAILS`.
        keep_spatial_axes: Answer ``[N, 3, 1, 1]``.
        opset: Version of the operators.
        ir_version: Version of the format.
        weights_as_inputs: List the initializer among the inputs, as IR 3 demands.
    """
    nodes: list[onnx.NodeProto] = []
    current = "image"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [current], ["nchw"], perm=[0, 3, 1, 2]))
        current = "nchw"
    if dtype not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        nodes.append(helper.make_node("Cast", [current], ["real"], to=TensorProto.FLOAT))
        current = "real"
    real = dtype if dtype == TensorProto.FLOAT16 else TensorProto.FLOAT
    nodes.append(helper.make_node("GlobalAveragePool", [current], ["pooled"]))
    nodes.append(helper.make_node("Mul", ["pooled", "one"], ["scaled"]))
    current = "scaled"
    if not keep_spatial_axes:
        nodes.append(helper.make_node("Flatten", [current], ["flat"]))
        current = "flat"
    for index, (operator, attributes) in enumerate(TAILS[tail]):
        nodes.append(helper.make_node(operator, [current], [f"tail{index}"], **attributes))  # type: ignore[arg-type]
        current = f"tail{index}"
    nodes.append(helper.make_node("Identity", [current], ["answer"]))
    one = numpy_helper.from_array(
        np.ones((1, 1, 1, 1), np.float16 if real == TensorProto.FLOAT16 else np.float32), "one"
    )
    inputs = [value("image", shape, dtype)]
    if weights_as_inputs:
        inputs.append(value("one", (1, 1, 1, 1), real))
    out_dtype = TensorProto.INT64 if tail == "labels" else real
    return make_model(
        nodes,
        inputs,
        [value("answer", None, out_dtype)],
        [one],
        opset=opset,
        ir_version=ir_version,
    )


def bright_or_dark(*, shape: Shape, to_rows: Sequence[int] = (0, -1)) -> onnx.ModelProto:
    """Build a model of a single channel: logits (m, -m) for the mean m of each row.

    Args:
        shape: Declared shape of the input.
        to_rows: Shape that makes one row of values per image; 0 keeps a size.
    """
    nodes = [
        helper.make_node("Reshape", ["image", "rows"], ["values"]),
        helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["mean", "signs"], ["answer"]),
    ]
    weights = [
        numpy_helper.from_array(np.array(to_rows, np.int64), "rows"),
        numpy_helper.from_array(np.array([[1, -1]], np.float32), "signs"),
    ]
    return make_model(nodes, [value("image", shape)], [value("answer", None)], weights)


def nearest_color(targets: NDArray[np.float32], *, side: int = 8) -> onnx.ModelProto:
    """Build a model whose class k is the nearest of K colours, in units of its own input.

    The logits are ``2 t_k x - |t_k|^2``, the negative squared distance up to a constant.

    Args:
        targets: ``[K, 3]`` as the model sees them.
        side: Height and width.
    """
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "targets", "bias"], ["answer"], alpha=2.0, transB=1),
    ]
    weights = [
        numpy_helper.from_array(targets, "targets"),
        numpy_helper.from_array(-(targets**2).sum(axis=1), "bias"),
    ]
    return make_model(
        nodes,
        [value("image", ["n", 3, side, side])],
        [value("answer", ["n", len(targets)])],
        weights,
    )


def with_two_heads(*, agree: bool) -> onnx.ModelProto:
    """Build a model with logits and, beside them, their softmax or that of their negative."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Identity" if agree else "Neg", ["logits"], ["other"]),
        helper.make_node("Softmax", ["other"], ["probabilities"], axis=1),
    ]
    outputs = [value("probabilities", ["n", 3]), value("logits", ["n", 3])]
    return make_model(nodes, [value("image", ["n", 3, 8, 8])], outputs)


def noisy(*, operator: str = "RandomNormalLike") -> onnx.ModelProto:
    """Build a model that answers differently each time."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    weights: list[onnx.TensorProto] = []
    if operator == "Dropout":
        weights.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
        weights.append(numpy_helper.from_array(np.array(True), "training"))
        nodes.append(helper.make_node("Dropout", ["image", "ratio", "training"], ["dropped"]))
        nodes[0] = helper.make_node("GlobalAveragePool", ["dropped"], ["pooled"])
        nodes = [nodes[2], nodes[0], nodes[1], helper.make_node("Identity", ["flat"], ["answer"])]
    else:
        nodes.append(helper.make_node(operator, ["flat"], ["noise"], scale=1.0))
        nodes.append(helper.make_node("Add", ["flat", "noise"], ["answer"]))
    return make_model(nodes, [value("image", ["n", 3, 8, 8])], [value("answer", ["n", 3])], weights)


def batch_normalised() -> onnx.ModelProto:
    """Build a model in training mode: each answer has the batch's mean taken off."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "half"], ["small"]),
        helper.make_node("Add", ["flat", "small"], ["answer"]),
    ]
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    return make_model(nodes, [value("image", ["n", 3, 8, 8])], [value("answer", ["n", 3])], [half])


def memory_bomb() -> onnx.ModelProto:
    """Build a model of a few hundred bytes that asks for 64 GiB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Add", ["flat", "sum"], ["answer"]),
    ]
    huge = numpy_helper.from_array(np.array([131072, 131072], np.int64), "huge")
    return make_model(nodes, [value("image", ["n", 3, 8, 8])], [value("answer", ["n", 3])], [huge])


def endless_loop() -> onnx.ModelProto:
    """Build a model that loops 2^62 times."""
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
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Loop", ["times", "yes", "flat"], ["answer"], body=body),
    ]
    weights = [
        numpy_helper.from_array(np.array(2**62, np.int64), "times"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    return make_model(nodes, [value("image", ["n", 3, 8, 8])], [value("answer", ["n", 3])], weights)


def with_external_weights(location: str) -> onnx.ModelProto:
    """Build `brightest_channel` whose class weights, 9 floats, lie in another file."""
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3, 3])
    weights.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("length", "36")):
        weights.external_data.add(key=key, value=text)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["answer"]),
    ]
    return make_model(
        nodes, [value("image", ["n", 3, 8, 8])], [value("answer", ["n", 3])], [weights]
    )


def with_custom_operator() -> onnx.ModelProto:
    """Build a model with an operator of a vendor's library."""
    nodes = [helper.make_node("Surprise", ["image"], ["answer"], domain="com.example")]
    return make_model(
        nodes,
        [value("image", ["n", 3, 8, 8])],
        [value("answer", ["n", 3])],
        domains=["com.example"],
    )


def merged_heads(first: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """Build one file of two networks: the same input, the outputs ``early_*`` and ``final_*``."""
    merged = compose.merge_graphs(
        compose.add_prefix(first, "early_").graph,
        compose.add_prefix(second, "final_").graph,
        io_map=[],
    )
    # The nodes of both read what was the first one's input.
    kept, *others = (tensor.name for tensor in merged.input)
    for node in merged.node:
        for place, name in enumerate(node.input):
            if name in others:
                node.input[place] = kept
    del merged.input[1:]
    return helper.make_model(merged, opset_imports=first.opset_import, ir_version=first.ir_version)


def class_beside(model: onnx.ModelProto, *, of: str, scores: str) -> onnx.ModelProto:
    """Give a model the outputs ``label``, best of one of its outputs, and another's ``scores``."""
    label = helper.make_node("ArgMax", [of], ["label"], axis=1, keepdims=0)
    told = helper.make_node("Identity", [scores], ["scores"])
    model.graph.node.extend([label, told])
    del model.graph.output[:]
    model.graph.output.extend([value("label", ["n"], TensorProto.INT64), value("scores", None)])
    return model
