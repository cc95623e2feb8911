"""Small convolutional networks whose weights are drawn, and what may be done to them.

``conv 3x3 (3 -> 16), batch norm, conv 3x3 (16 -> 24), conv 1x1 (24 -> 32), mean, matrix (-> 3)``,
with a rectifier behind each convolution.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from worlds.onnx_builders import make_model, value

Tensors = dict[str, NDArray[np.float32]]
LAYERS = ("first", "second", "third", "head")
SHAPES = {
    "first": (16, 3, 3, 3),
    "second": (24, 16, 3, 3),
    "third": (32, 24, 1, 1),
    "head": (3, 32),
}


def drawn(seed: int) -> Tensors:
    """Return the tensors of an independent network."""
    rng = np.random.default_rng(seed)
    tensors = {name: _normal(rng, shape) for name, shape in SHAPES.items()}
    tensors["scale"] = _normal(rng, (16,))  # signs differ
    tensors["variance"] = np.abs(_normal(rng, (16,))) + np.float32(0.5)
    return tensors


def near(tensors: Mapping[str, NDArray[np.float32]], share: float, seed: int = 99) -> Tensors:
    """Return a network whose weights have the cosine ``share`` with the given ones, about."""
    others = drawn(seed)
    return {
        name: np.float32(share) * tensor + np.float32(np.sqrt(1 - share**2)) * others[name]
        if name in SHAPES
        else tensor
        for name, tensor in tensors.items()
    }


def reordered(tensors: Mapping[str, NDArray[np.float32]], seed: int) -> Tensors:
    """Return a network that computes the same with its channels in another order and scale."""
    rng = np.random.default_rng(seed)
    changed = dict(tensors)
    for layer, following in (("first", "second"), ("second", "third"), ("third", "head")):
        order = rng.permutation(len(tensors[layer]))
        factors = np.exp(rng.normal(size=len(order))).astype(np.float32)
        is_first = layer == "first"
        rows = changed[layer][order]
        if is_first:
            # Behind a batch norm, whose scale takes the factor.
            changed["scale"] = changed["scale"][order] * factors
            changed["variance"] = changed["variance"][order]
        changed[layer] = rows if is_first else rows * factors.reshape(-1, 1, 1, 1)
        columns = changed[following][:, order]
        shape = (1, -1) + (1,) * (columns.ndim - 2)
        changed[following] = columns / factors.reshape(shape)
    return changed


def narrowed(tensors: Mapping[str, NDArray[np.float32]], share: float) -> Tensors:
    """Return a network with the filters of largest norm only, of the first three layers."""
    changed = dict(tensors)
    for layer, following in (("first", "second"), ("second", "third"), ("third", "head")):
        norms = np.square(changed[layer]).reshape(len(changed[layer]), -1).sum(axis=1)
        kept = np.sort(np.argsort(-norms)[: int(share * len(norms))])
        changed[layer] = changed[layer][kept]
        changed[following] = changed[following][:, kept]
        if layer == "first":
            changed["scale"], changed["variance"] = (
                changed["scale"][kept],
                changed["variance"][kept],
            )
    return changed


def network(tensors: Mapping[str, NDArray[np.float32]], prefix: str = "") -> onnx.ModelProto:
    """Return the network as a model whose tensors are stored as they are."""
    zeros = np.zeros(len(tensors["scale"]), np.float32)
    stored = {**tensors, "zeros": zeros, "bias": np.zeros(3, np.float32)}
    nodes = [
        helper.make_node("Conv", ["pixels", "first"], ["a"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["a", "scale", "zeros", "zeros", "variance"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "second"], ["d"], pads=[1] * 4),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "third"], ["f"]),
        helper.make_node("Relu", ["f"], ["g"]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["i"]),
        helper.make_node("Gemm", ["i", "head", "bias"], ["logits"], transB=1),
    ]
    for node in nodes:
        node.input[:] = [prefix + name if name != "pixels" else name for name in node.input]
        node.output[:] = [prefix + name for name in node.output]
    return make_model(
        nodes,
        [value("pixels", ("n", 3, 4, 4))],
        [value(f"{prefix}logits", ("n", 3))],
        [numpy_helper.from_array(tensor, prefix + name) for name, tensor in stored.items()],
    )


def both(one: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that holds two networks, one's nodes among the other's."""
    nodes = [node for pair in zip(one.graph.node, other.graph.node, strict=True) for node in pair]
    outputs = [*one.graph.output, *other.graph.output]
    weights = [*one.graph.initializer, *other.graph.initializer]
    return make_model(nodes, one.graph.input, outputs, weights)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)
