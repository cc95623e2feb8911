"""Layers are the same whatever form a file keeps its weights in; what is hostile costs nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from worlds.onnx_builders import make_model, value
from worlds.weights.networks import LAYERS, SHAPES, both, drawn, network

from adapters.weights.balanced import balanced
from adapters.weights.layer import Layer
from adapters.weights.onnx_layers import MAX_LAYERS, layers_of, read_layers

TENSORS = drawn(3)
PIXELS = value("pixels", ("n", 3, 8, 8))
OUT = value("out", None)


def convolution(
    weights: NDArray[np.generic], *before: onnx.NodeProto, name: str = "w"
) -> onnx.ModelProto:
    """Return one convolution whose weights ``before`` make of what is stored as ``w``."""
    node = helper.make_node("Conv", ["pixels", name], ["out"])
    stored = [numpy_helper.from_array(weights, "w")]
    return make_model([*before, node], [PIXELS], [OUT], stored)


def kernel_of(model: onnx.ModelProto) -> NDArray[np.float32]:
    (layer,) = layers_of(model).layers
    return layer.kernel


def test_layers_come_in_the_order_of_computation_with_the_layer_before() -> None:
    layers = layers_of(network(TENSORS)).layers
    assert [layer.name for layer in layers] == list(LAYERS)
    assert [layer.shape for layer in layers] == [(16, 3, 9), (24, 16, 9), (32, 24, 1), (3, 32, 1)]
    assert [layer.before for layer in layers] == [-1, 0, 1, 2]


def test_a_batch_norm_is_folded_into_the_filters_before_it() -> None:
    factors = TENSORS["scale"] / np.sqrt(TENSORS["variance"] + 1e-5)
    expected = TENSORS["first"].reshape(16, 3, 9) * factors[:, None, None]
    np.testing.assert_allclose(layers_of(network(TENSORS)).layers[0].kernel, expected, rtol=1e-5)


def test_a_matrix_is_read_in_either_direction() -> None:
    matrix = TENSORS["head"]
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["out"]),
    ]
    model = make_model(nodes, [PIXELS], [OUT], [numpy_helper.from_array(matrix.T, "w")])
    np.testing.assert_array_equal(kernel_of(model)[..., 0], matrix)


def test_half_precision_is_read() -> None:
    half = TENSORS["first"].astype(np.float16)
    np.testing.assert_array_equal(
        kernel_of(convolution(half)), half.astype(np.float32).reshape(16, 3, 9)
    )


@pytest.mark.parametrize("is_per_filter", [False, True])
def test_quantised_weights_are_read(is_per_filter: bool) -> None:
    stored = np.arange(-108, 108, dtype=np.int8).reshape(8, 3, 3, 3)
    scale = np.full(8, 0.5, np.float32) if is_per_filter else np.float32(0.5)
    zero = np.full(8, 3, np.int8) if is_per_filter else np.int8(3)
    expected = (stored.astype(np.float32) - 3).reshape(8, 3, 9) * 0.5
    extra = [
        numpy_helper.from_array(np.asarray(one), name) for name, one in (("s", scale), ("z", zero))
    ]
    dequantise = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0)
    model = convolution(stored, dequantise, name="d")
    model.graph.initializer.extend(extra)
    np.testing.assert_array_equal(kernel_of(model), expected)
    inputs = ["pixels", "one", "zero", "w", "s", "z", "one", "zero"]
    whole = make_model(
        [helper.make_node("QLinearConv", inputs, ["out"])],
        [PIXELS],
        [OUT],
        [numpy_helper.from_array(stored, "w"), *extra],
    )
    np.testing.assert_array_equal(kernel_of(whole), expected)


def test_weights_that_are_stored_in_another_layout_are_turned_back() -> None:
    stored = TENSORS["first"].transpose(2, 3, 1, 0).reshape(9, -1)
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[3, 3, 3, 16])
    nodes = [
        shape,
        helper.make_node("Reshape", ["w", "shape"], ["v"]),
        helper.make_node("Transpose", ["v"], ["u"], perm=[3, 2, 0, 1]),
    ]
    model = convolution(stored, *nodes, name="u")
    np.testing.assert_array_equal(kernel_of(model), TENSORS["first"].reshape(16, 3, 9))


def test_external_data_is_read_from_the_folder(tmp_path: Path) -> None:
    model = network(TENSORS)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    layers = read_layers(path.read_bytes(), str(tmp_path)).layers
    np.testing.assert_array_equal(layers[1].kernel, TENSORS["second"].reshape(24, 16, 9))
    (tmp_path / "data.bin").unlink()
    assert read_layers(path.read_bytes(), str(tmp_path)).layers == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_hidden(bad: float) -> None:
    tensors = {**TENSORS, "second": TENSORS["second"].copy()}
    tensors["second"][0, 0, 0, 0] = bad
    found = layers_of(network(tensors))
    assert [layer.name for layer in found.layers] == ["first", "third", "head"]
    assert found.num_hidden == 1


def test_weights_that_are_computed_from_the_image_are_hidden() -> None:
    nodes = [
        helper.make_node("Resize", ["pixels", "", "", "sizes"], ["w"]),
        helper.make_node("Conv", ["pixels", "w"], ["out"]),
    ]
    sizes = numpy_helper.from_array(np.array([2, 3, 3, 3]), "sizes")
    found = layers_of(make_model(nodes, [PIXELS], [OUT], [sizes]))
    assert (found.layers, found.num_hidden) == ((), 1)


def test_a_product_of_two_results_is_no_layer() -> None:
    node = helper.make_node("MatMul", ["pixels", "pixels"], ["out"])
    found = layers_of(make_model([node], [PIXELS], [OUT]))
    assert (found.layers, found.num_hidden) == ((), 0)


def test_operators_that_loop_are_never_run() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", None)],
        [value("on", [], TensorProto.BOOL), value("v2", None)],
    )
    loop = helper.make_node("Loop", ["", "", "w"], ["l"], body=body)
    found = layers_of(convolution(TENSORS["first"], loop, name="l"))
    assert (found.layers, found.num_hidden) == ((), 1)


def test_a_constant_of_more_memory_than_there_is_is_hidden() -> None:
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[1 << 20, 1 << 20, 1 << 10, 1])
    bomb = helper.make_node("ConstantOfShape", ["shape"], ["c"])
    found = layers_of(convolution(TENSORS["first"], shape, bomb, name="c"))
    assert (found.layers, found.num_hidden) == ((), 1)


def test_a_tensor_that_claims_to_be_giant_is_not_made() -> None:
    model = convolution(TENSORS["first"])
    model.graph.initializer[0].dims[:] = [1 << 30, 1 << 30, 3, 3]
    found = layers_of(model)
    assert (found.layers, found.num_hidden) == ((), 1)


def test_one_giant_filter_is_left_out() -> None:
    found = layers_of(convolution(np.ones((1, 1 << 18, 1, 1), np.float32)))
    assert (found.layers, found.num_hidden) == ((), 1)


@pytest.mark.whole
def test_a_graph_of_100000_nodes_is_read_as_far_as_its_layers_are_looked_at() -> None:
    nodes = [
        helper.make_node("Conv", [f"x{number}", "w"], [f"x{number + 1}"])
        for number in range(100_000)
    ]
    model = make_model(nodes, [value("x0", ("n", 3, 8, 8))], [OUT])
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w"))
    found = layers_of(model)
    assert len(found.layers) == MAX_LAYERS
    assert found.num_left_out == 100_000 - MAX_LAYERS


def test_layers_of_parallel_branches_have_one_order_whatever_the_files() -> None:
    rng = np.random.default_rng(0)
    names = {"stem": (8, 3, 3, 3), "body": (8, 8, 3, 3), "shortcut": (8, 8, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["pixels", "stem"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "body"], ["b1"], pads=[1] * 4),
        helper.make_node("Conv", ["b1", "body"], ["b2"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "shortcut"], ["c"]),
        helper.make_node("Add", ["c", "b2"], ["out"]),
    ]
    stored = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in names.items()
    ]
    first, one, other, shortcut, last = nodes
    orders = [
        [layer.name for layer in layers_of(make_model(order, [PIXELS], [OUT], stored)).layers]
        for order in ([first, one, other, shortcut, last], [first, shortcut, one, other, last])
    ]
    assert orders == [["stem", "body", "body", "shortcut"]] * 2


def test_a_graph_without_layers_has_none() -> None:
    node = helper.make_node("Relu", ["pixels"], ["out"])
    assert layers_of(make_model([node], [PIXELS], [OUT])).layers == ()


def test_functions_are_written_out() -> None:
    body = [helper.make_node("Conv", ["a", "b"], ["c"])]
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Block", ["a", "b"], ["c"], body, opset)
    node = helper.make_node("Block", ["pixels", "w"], ["out"], domain="own")
    stored = [numpy_helper.from_array(TENSORS["first"], "w")]
    model = make_model([node], [PIXELS], [OUT], stored, domains=["own"])
    model.functions.append(function)
    (layer,) = read_layers(model.SerializeToString()).layers
    assert layer.shape == (16, 3, 9)


def test_filters_are_balanced_whatever_the_scales_of_filters_and_channels() -> None:
    kernel = TENSORS["second"].reshape(24, 16, 9)
    rng = np.random.default_rng(1)
    rows, columns = (np.exp(2 * rng.normal(size=num)).astype(np.float32) for num in (24, 16))
    scaled = kernel * rows[:, None, None] * columns[None, :, None]
    np.testing.assert_allclose(balanced(scaled), balanced(kernel), atol=1e-4)
    np.testing.assert_allclose(np.square(balanced(kernel)).sum(axis=(1, 2)), 1, rtol=1e-5)


def test_the_largest_and_the_smallest_numbers_are_balanced_without_a_warning() -> None:
    kernel = np.array([[[3e38], [1e-38]], [[1e-45], [0.0]]], np.float32)
    assert np.isfinite(balanced(kernel)).all()
    assert not balanced(np.zeros((2, 2, 1), np.float32)).any()


def test_a_layer_is_as_large_as_its_kernel() -> None:
    assert Layer(name="x", kernel=np.zeros((2, 3, 4), np.float32)).shape == (2, 3, 4)
    assert set(SHAPES) == set(LAYERS)
    assert len(layers_of(both(network(TENSORS, "a_"), network(TENSORS, "b_"))).layers) == 8
