"""A network's layers from its ONNX graph, in one form whatever exporter wrote it.

Follows the ONNX operator specification (docs/Operators.md) and onnxruntime's contrib operators.
Scales of whole filters mean nothing here (`adapters.weights.balanced` removes them), so that biases
and the scales behind integer products are not read. Runs where the file is parsed only.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray

from adapters.weights.constants import Constants
from adapters.weights.layer import NO_LAYER, Layer, NetworkLayers

MAX_LAYERS = 512
"""Layers that are looked at, from the input on."""
MAX_VALUES = 1 << 28
"""Numbers of all layers together."""
MAX_FILTERS, MAX_FILTER_VALUES = 1 << 16, 1 << 17
"""Filters of a layer, and numbers of a filter."""

LAYERS: dict[str, tuple[int, int, int, bool]] = {
    "Conv": (1, 0, 0, False),
    "FusedConv": (1, 0, 0, False),
    "ConvInteger": (1, 0, 3, False),
    "QLinearConv": (3, 4, 5, False),
    "Gemm": (1, 0, 0, True),
    "QGemm": (3, 4, 5, True),
    "MatMul": (1, 0, 0, True),
    "FusedMatMul": (1, 0, 0, True),
    "MatMulInteger": (1, 0, 3, True),
    "MatMulIntegerToFloat": (1, 3, 5, True),
    "DynamicQuantizeMatMul": (1, 2, 3, True),
    "QLinearMatMul": (3, 4, 5, True),
}
"""Operators with weights: which of their inputs are weights, scale and zero point, 0 for none, and
whether the weights are a matrix. Data are the first input."""
PASSED = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div",
     "Dropout", "DynamicQuantizeLinear", "Elu", "Erf", "Flatten", "Gelu", "GlobalAveragePool",
     "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mish", "Mul",
     "NhwcMaxPool", "PRelu", "Pad", "QLinearAdd", "QLinearAveragePool", "QLinearGlobalAveragePool",
     "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QuantizeLinear", "QuickGelu",
     "ReduceMean", "Relu", "Reshape", "Resize", "Selu", "Sigmoid", "Slice", "Softplus", "Squeeze",
     "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Upsample"}
)  # fmt: skip
"""Operators whose channels are those of an input, in its order (if they keep their number)."""
_MAX_STEPS = 64
"""Nodes that are looked at between a layer and the one before."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A node that is a layer, before its weights are read."""

    node: onnx.NodeProto
    data: str
    """Name of what comes in."""
    weights: str
    scale: str = ""
    zero_point: str = ""
    is_matrix: bool = False
    is_transposed: bool = False
    """A matrix ``[out, in]``; otherwise ``[in, out]``."""
    num_groups: int = 1


def read_layers(data: bytes, folder: str = "") -> NetworkLayers:
    """Read the layers of an ONNX file.

    Args:
        data: The file's bytes, guarded by `adapters.onnx.process.graph.describe` where they are a
            stranger's.
        folder: Where its external data lies.

    Returns:
        Its convolutions and products with constant weights, each behind all that it takes, longer
        branches before shorter ones.
    """
    model = onnx.ModelProto.FromString(data)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return layers_of(model, folder)


def layers_of(model: onnx.ModelProto, folder: str = "") -> NetworkLayers:
    """Read the layers of a parsed model without functions."""
    constants = Constants(model, folder)
    every = [found for node in model.graph.node for found in _found(node)]
    # What stands on both sides of a product is no layer: attention multiplies two results.
    constant = [found for found in every if found.weights in constants]
    num_hidden = sum(_is_layer(found) for found in every) - sum(map(_is_layer, constant))
    makers = {name: node for node in model.graph.node for name in node.output if name}
    places = _places(model, makers)
    constant.sort(key=lambda found: places.get(id(found.node), len(places)))
    taken = constant[:MAX_LAYERS]
    users = _single_users(model)
    norms = [_norm_behind(found.node, users) for found in taken]
    needed = [
        name
        for found, norm in zip(taken, norms, strict=True)
        for name in (
            found.weights,
            found.scale,
            found.zero_point,
            *(norm.input[1:] if norm else ()),
        )
    ]
    constants.evaluate(needed)
    numbers: dict[int, int] = {}
    layers: list[Layer] = []
    room = MAX_VALUES
    for found, norm in zip(taken, norms, strict=True):
        kernel = _kernel(found, constants, room)
        if kernel is None:
            num_hidden += 1
            continue
        if norm is not None:
            kernel = _with_norm(kernel, norm, constants)
        room -= kernel.size
        before = _layer_before(found, makers, numbers, layers, kernel.shape[1])
        numbers[id(found.node)] = len(layers)
        layers.append(
            Layer(
                name=found.weights,
                kernel=kernel,
                num_groups=found.num_groups,
                before=before,
            )
        )
    return NetworkLayers(
        layers=tuple(layers),
        num_hidden=num_hidden,
        num_left_out=len(constant) - len(taken),
    )


def _places(model: onnx.ModelProto, makers: dict[str, onnx.NodeProto]) -> dict[int, int]:
    """Return the place of each node that an output needs, by its id.

    By the graph and not by its file, in which parallel branches stand in any order: depth first
    from the outputs, into branches with more layers before those with fewer.
    """
    depths = _depths(model)
    places: dict[int, int] = {}
    entered: set[int] = set()
    pending = [makers[one.name] for one in reversed(model.graph.output) if one.name in makers]
    # A list and no recursion: graphs are as deep as whoever made them wants.
    while pending:
        node = pending[-1]
        if id(node) in entered:
            pending.pop()
            places.setdefault(id(node), len(places))
            continue
        entered.add(id(node))
        behind = [makers[name] for name in reversed(node.input) if name in makers]
        # The last one is taken first.
        pending += sorted(
            (one for one in behind if id(one) not in entered), key=lambda one: depths[id(one)]
        )
    return places


def _depths(model: onnx.ModelProto) -> dict[int, int]:
    """Return how many layers lie on the longest way to each node, by its id."""
    reached: dict[str, int] = {}
    depths: dict[int, int] = {}
    for node in model.graph.node:
        depth = max((reached.get(name, 0) for name in node.input), default=0)
        depths[id(node)] = depth + (node.op_type in LAYERS)
        reached.update(dict.fromkeys(node.output, depths[id(node)]))
    return depths


def _found(node: onnx.NodeProto) -> Iterator[_Found]:
    """Yield the node as a layer, if its operator is one's."""
    if node.op_type not in LAYERS or not node.input:
        return
    *places, is_matrix = LAYERS[node.op_type]
    weights, scale, zero_point = (
        node.input[place] if 0 < place < len(node.input) else "" for place in places
    )
    yield _Found(
        node=node,
        data=node.input[0],
        weights=weights,
        scale=scale,
        zero_point=zero_point,
        is_matrix=is_matrix,
        is_transposed=bool(_attribute(node, "transB", 0)),
        num_groups=_attribute(node, "group", 1),
    )


def _is_layer(found: _Found) -> bool:
    """Return whether an operator always has weights, wherever they come from."""
    return not found.is_matrix or found.node.op_type in ("Gemm", "QGemm")


def _kernel(found: _Found, constants: Constants, room: int) -> NDArray[np.float32] | None:
    """Return ``[out, in, positions]``; None if there is no such thing, or too much of it."""
    size = constants.size(found.weights)
    if size is not None and size > room:
        return None
    stored = constants.value(found.weights)
    if stored is None or stored.size > room or not stored.size or stored.ndim < 2:
        return None
    if found.is_matrix and stored.ndim != 2:
        return None
    try:
        kernel = _dequantised(stored, found, constants)
    except (TypeError, ValueError):
        return None
    if found.is_matrix:
        kernel = (kernel if found.is_transposed else kernel.T)[..., None]
    # [out, in, *places] -> [out, in, positions]
    kernel = kernel.reshape(*kernel.shape[:2], -1)
    num_filters, num_inputs, num_positions = kernel.shape
    is_large = num_filters > MAX_FILTERS or num_inputs * num_positions > MAX_FILTER_VALUES
    is_usable = not is_large and found.num_groups > 0 and bool(np.isfinite(kernel).all())
    return np.ascontiguousarray(kernel) if is_usable else None


def _dequantised(stored: NDArray[Any], found: _Found, constants: Constants) -> NDArray[np.float32]:
    """Return float32 values; scale and zero point are one number, or one for each filter."""
    # Half precision and its kin become 32 bits; a difference of two bytes does not fit into one.
    kernel = np.asarray(stored, dtype=np.float32)
    # Filters come first in a convolution and in a transposed matrix.
    is_first = not found.is_matrix or found.is_transposed
    per_filter = (-1, *(1,) * (kernel.ndim - 1)) if is_first else (1, -1)
    for name, apply in ((found.zero_point, np.subtract), (found.scale, np.multiply)):
        value = constants.value(name) if name else None
        if value is not None:
            number = np.asarray(value, dtype=np.float32)
            kernel = apply(
                kernel, number.reshape(per_filter) if number.size > 1 else number.ravel()[:1]
            )
    return np.asarray(kernel, dtype=np.float32)


def _with_norm(
    kernel: NDArray[np.float32], norm: onnx.NodeProto, constants: Constants
) -> NDArray[np.float32]:
    """Return a kernel with the batch norm behind it folded in, as runtimes do."""
    scale, variance = constants.value(norm.input[1]), constants.value(norm.input[4])
    if scale is None or variance is None or not scale.size == variance.size == len(kernel):
        return kernel
    epsilon = _attribute(norm, "epsilon", 1e-5)
    with np.errstate(all="ignore"):
        factors = np.asarray(scale, np.float32) / np.sqrt(
            np.asarray(variance, np.float32) + epsilon
        )
        folded = kernel * factors.reshape(-1, 1, 1)
    return folded if bool(np.isfinite(folded).all()) else kernel


def _single_users(model: onnx.ModelProto) -> dict[str, onnx.NodeProto | None]:
    """Return the node that takes each value; None where there are several."""
    users: dict[str, onnx.NodeProto | None] = {}
    for node in model.graph.node:
        for name in node.input:
            users[name] = None if name in users else node
    return users


def _norm_behind(
    node: onnx.NodeProto, users: dict[str, onnx.NodeProto | None]
) -> onnx.NodeProto | None:
    following = users.get(node.output[0]) if node.output else None
    is_norm = following is not None and following.op_type == "BatchNormalization"
    return following if is_norm and following is not None and len(following.input) == 5 else None


def _layer_before(
    found: _Found,
    makers: dict[str, onnx.NodeProto],
    numbers: dict[int, int],
    layers: Sequence[Layer],
    num_inputs: int,
) -> int:
    """Return the nearest layer whose filters can be the input channels."""
    pending, seen = deque([found.data]), set[str]()
    while pending and len(seen) < _MAX_STEPS:
        name = pending.popleft()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        number = numbers.get(id(node))
        if number is not None:
            num_filters = len(layers[number].kernel)
            # Grouped convolutions name their channels by group; a matrix may see each in places.
            if found.num_groups == 1 and num_inputs % num_filters == 0:
                return number
            if found.num_groups == num_filters and num_inputs == 1:
                return number
        elif node.op_type in PASSED:
            pending += node.input
    return NO_LAYER


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default
