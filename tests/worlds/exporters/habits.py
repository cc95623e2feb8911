"""The answers of one model in the forms in which exporters write them.

Each function takes a model whose first output is logits ``[N, K]`` and gives it other outputs, or
another input, that say the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from worlds.onnx_builders import Shape, value

Habit = Callable[[onnx.ModelProto], onnx.ModelProto]


def _with_outputs(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    if all(one.domain != "ai.onnx.ml" for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


def _logits(model: onnx.ModelProto) -> str:
    return str(model.graph.output[0].name)


def squeezed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Squeeze the batch axis away where there is one image."""
    node = helper.make_node("Squeeze", [_logits(model)], ["squeezed"])
    return _with_outputs(model, [node], [value("squeezed", None)])


def squeezed_class(model: onnx.ModelProto) -> onnx.ModelProto:
    """Answer the class alone, without any axis where there is one image."""
    nodes = [
        helper.make_node("ArgMax", [_logits(model)], ["best"], axis=1, keepdims=0),
        helper.make_node("Squeeze", ["best"], ["class"]),
    ]
    return _with_outputs(model, nodes, [value("class", None, TensorProto.INT64)])


def beside_its_class(model: onnx.ModelProto) -> onnx.ModelProto:
    """Answer the class beside the logits, as TensorFlow's estimators do."""
    logits = _logits(model)
    node = helper.make_node("ArgMax", [logits], ["class"], axis=1, keepdims=0)
    outputs = [value("class", ["n"], TensorProto.INT64), value(logits, None)]
    return _with_outputs(model, [node], outputs)


def as_text(names: Sequence[str]) -> Habit:
    """Answer the class as a text."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        nodes = [
            helper.make_node("ArgMax", [_logits(model)], ["best"], axis=1, keepdims=0),
            helper.make_node(
                "LabelEncoder", ["best"], ["classLabel"], domain="ai.onnx.ml",
                keys_int64s=list(range(len(names))), values_strings=list(names),
            ),
        ]  # fmt: skip
        return _with_outputs(model, nodes, [value("classLabel", ["n"], TensorProto.STRING)])

    return change


def as_text_and_map(names: Sequence[str] | None, num_classes: int) -> Habit:
    """Answer a text and a map by name, or by number without names."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        keys = (
            {"classlabels_strings": list(names)}
            if names is not None
            else {"classlabels_int64s": list(range(num_classes))}
        )
        logits = _logits(model)
        nodes = [
            helper.make_node("Softmax", [logits], ["shares"], axis=1),
            helper.make_node("ZipMap", ["shares"], ["loss"], domain="ai.onnx.ml", **keys),
        ]
        key_type = TensorProto.STRING if names is not None else TensorProto.INT64
        map_type = helper.make_map_type_proto(
            key_type, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
        )
        loss = helper.make_value_info("loss", helper.make_sequence_type_proto(map_type))
        if names is None:
            return _with_outputs(model, nodes, [loss])
        model = as_text(names)(model)
        model.graph.output.insert(0, value(logits, None))
        label = value("classLabel", ["n"], TensorProto.STRING)
        return _with_outputs(model, nodes, [label, loss])

    return change


def as_columns(names: Sequence[str]) -> Habit:
    """Answer one output for each class, called by it."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Softmax", [_logits(model)], ["shares"], axis=1),
            helper.make_node("Split", ["shares"], list(names), axis=1),
        ]
        return _with_outputs(model, nodes, [value(name, ["n", 1]) for name in names])

    return change


def as_sigmoids(model: onnx.ModelProto) -> onnx.ModelProto:
    """Answer a sigmoid for each class."""
    node = helper.make_node("Sigmoid", [_logits(model)], ["sigmoids"])
    return _with_outputs(model, [node], [value("sigmoids", None)])


def best_k(k: int, operator: str = "Softmax") -> Habit:
    """Answer the best k shares and their classes; of something else by another operator."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        nodes = [
            helper.make_node(operator, [_logits(model)], ["shares"]),
            helper.make_node("TopK", ["shares", "k"], ["scores", "indices"], axis=1),
        ]
        outputs = [value("scores", None), value("indices", None, TensorProto.INT64)]
        weights = [numpy_helper.from_array(np.array([k], np.int64), "k")]
        return _with_outputs(model, nodes, outputs, weights)

    return change


def with_more_classes(before: int, after: int) -> Habit:
    """Answer further classes, which nothing belongs to, before and after the others."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        pads = np.array([0, before, 0, after], np.int64)
        weights = [
            numpy_helper.from_array(pads, "pads"),
            numpy_helper.from_array(np.array(-30, np.float32), "low"),
        ]
        node = helper.make_node("Pad", [_logits(model), "pads", "low"], ["more"])
        return _with_outputs(model, [node], [value("more", None)], weights)

    return change


def one_sigmoid(model: onnx.ModelProto) -> onnx.ModelProto:
    """Answer one value for two classes: the sigmoid of the second's logit less the first's."""
    nodes = [
        helper.make_node("MatMul", [_logits(model), "difference"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["second"]),
    ]
    weights = [numpy_helper.from_array(np.array([[-1], [1]], np.float32), "difference")]
    return _with_outputs(model, nodes, [value("second", ["n", 1])], weights)


def _with_input(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    shape: Shape,
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """Put nodes that end in the model's own input before it."""
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    model.graph.initializer.extend(weights)
    del model.graph.input[:]
    model.graph.input.append(value("given", shape))
    return model


def _input(model: onnx.ModelProto) -> str:
    return str(model.graph.input[0].name)


def flattened(side: int, *, by_pixel: bool, extra_axis: bool = False) -> Habit:
    """Take one row of values per image, channel by channel or pixel by pixel."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        inner, length = _input(model), 3 * side * side
        shape = [-1, side, side, 3] if by_pixel else [-1, 3, side, side]
        target = "pixels" if by_pixel else inner
        nodes = [helper.make_node("Reshape", ["given", "picture"], [target])]
        if by_pixel:
            nodes.append(helper.make_node("Transpose", ["pixels"], [inner], perm=[0, 3, 1, 2]))
        weights = [numpy_helper.from_array(np.array(shape, np.int64), "picture")]
        return _with_input(model, nodes, [None, length, *([1] if extra_axis else [])], weights)

    return change


def fixed_inside(side: int, own: int) -> Habit:
    """Leave all axes free, but work at one size only, as position embeddings do."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        share = own / side
        weights = [
            numpy_helper.from_array(np.zeros((1, 1, side, side), np.float32), "positions"),
            numpy_helper.from_array(np.array([1, 1, share, share], np.float32), "scales"),
        ]
        nodes = [
            helper.make_node("Add", ["given", "positions"], ["placed"]),
            helper.make_node("Resize", ["placed", "", "scales"], [_input(model)], mode="linear"),
        ]
        return _with_input(model, nodes, ["batch_size", "num_channels", "height", "width"], weights)

    return change


def batch_inside(batch: int, side: int) -> Habit:
    """Take any number of images by declaration, and so many in truth."""

    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        shape = np.array([batch, 3, side, side], np.int64)
        node = helper.make_node("Reshape", ["given", "batch"], [_input(model)])
        return _with_input(
            model, [node], ["n", 3, side, side], [numpy_helper.from_array(shape, "batch")]
        )

    return change
