"""Weights that come from a source are told from those that do not, whatever was done to them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.weights.networks import SHAPES, Tensors, both, drawn, narrowed, near, network, reordered

from adapters.weights.layer import NO_LAYER, Layer
from adapters.weights.onnx_layers import layers_of
from adapters.weights.similarities import Similarities, from_text, to_text
from adapters.weights.similarity import compare_layers
from adapters.weights.sketch import WeightSketch, sketch_layers

SEED = 0x5EED
SOURCE = drawn(1)


def sketch_of(tensors: Tensors, ancestor: Tensors | None = None) -> WeightSketch:
    began = None if ancestor is None else layers_of(network(ancestor)).layers
    return sketch_layers(layers_of(network(tensors)).layers, seed=SEED, ancestor=began)


def similarities(tensors: Tensors, sketch: WeightSketch | None = None) -> list[float]:
    layers = layers_of(network(tensors)).layers
    return [one.value for one in compare_layers(sketch or sketch_of(SOURCE), layers)]


def test_the_source_itself_has_similarity_1_in_every_layer() -> None:
    assert similarities(SOURCE) == pytest.approx([1.0] * 4, abs=1e-3)


def test_independent_networks_have_similarity_0_but_for_chance() -> None:
    # The least certain layer: 3 filters of 8 numbers each, an error of 1 / sqrt(24) = 0.2.
    means = [np.mean(similarities(drawn(seed))) for seed in range(2, 22)]
    assert np.abs(means).max() < 0.25
    assert abs(np.mean(means)) < 0.1


def test_channels_in_another_order_and_scale_change_nothing() -> None:
    found = compare_layers(sketch_of(SOURCE), layers_of(network(reordered(SOURCE, seed=5))).layers)
    assert [one.value for one in found] == pytest.approx([1.0] * 4, abs=1e-2)
    # The classes stay where they are, so that the head is in order once its inputs are.
    assert [one.is_matched for one in found[:3]] == [True] * 3


def test_similarity_is_the_cosine_between_the_weights() -> None:
    assert np.mean(similarities(near(SOURCE, 0.7))[:3]) == pytest.approx(0.7, abs=0.1)


def test_a_copy_that_is_changed_and_reordered_is_found() -> None:
    assert np.mean(similarities(reordered(near(SOURCE, 0.9), seed=7))[:3]) > 0.6


def flattened(kernel: NDArray[np.float32], matrix: NDArray[np.float32]) -> tuple[Layer, ...]:
    """A convolution of 8 filters whose 4 places each a matrix sees."""
    return (Layer(name="a", kernel=kernel), Layer(name="b", kernel=matrix[..., None], before=0))


def test_another_order_is_followed_through_flattened_features() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 4, 9)).astype(np.float32)
    matrix = rng.normal(size=(16, 32)).astype(np.float32)
    sketch, order = sketch_layers(flattened(kernel, matrix), seed=SEED), rng.permutation(8)
    moved = matrix.reshape(16, 8, 4)[:, order].reshape(16, 32)
    found = compare_layers(sketch, flattened(kernel[order], moved))
    assert [one.value for one in found] == pytest.approx([1.0, 1.0], abs=1e-2)


def test_a_graph_that_names_a_layer_before_with_other_channels_is_compared_all_the_same() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 4, 9)).astype(np.float32)
    matrix = rng.normal(size=(16, 32)).astype(np.float32)
    sketch = sketch_layers(flattened(kernel, matrix), seed=SEED)
    # Fewer inputs than the filters before would have places.
    layers = flattened(kernel[::-1], matrix[:, :13])
    assert len(compare_layers(sketch, layers)) == 2


def test_a_copy_with_fewer_filters_is_found() -> None:
    found = similarities(narrowed(SOURCE, 0.75))
    assert np.mean(found[:3]) > 0.7


def test_a_copy_within_a_larger_network_is_found_in_its_layers() -> None:
    hidden = both(network(drawn(8), "other_"), network(SOURCE, "own_"))
    layers = layers_of(hidden).layers
    found = compare_layers(sketch_of(SOURCE), layers)
    assert [layers[one.partner].name for one in found] == [
        "own_first",
        "own_second",
        "own_third",
        "own_head",
    ]
    assert [one.value for one in found] == pytest.approx([1.0] * 4, abs=1e-3)


def test_a_network_of_other_shapes_shares_no_layer() -> None:
    layers = (Layer(name="x", kernel=np.ones((5, 7, 25), np.float32)),)
    found = compare_layers(sketch_of(SOURCE), layers)
    assert [one.partner for one in found] == [NO_LAYER] * 4
    assert compare_layers(sketch_of(SOURCE), ()) == found


def test_filters_that_are_all_equal_still_match_in_order() -> None:
    equal = {**SOURCE, "second": np.ones(SHAPES["second"], np.float32)}
    assert similarities(equal, sketch_of(equal)) == pytest.approx([1.0] * 4, abs=1e-3)
    assert similarities(equal)[1] < 0.3


def test_dead_filters_and_a_layer_of_zeros_say_nothing() -> None:
    dead = {name: tensor.copy() for name, tensor in SOURCE.items()}
    dead["second"][5:] = 0
    assert similarities(dead)[1] > 0.3
    dead["second"][:] = 0
    assert similarities(dead)[1] == 0.0


def test_two_fine_tunings_of_one_ancestor_are_not_kin_and_a_copy_is() -> None:
    ancestor = drawn(40)
    source, sibling = near(ancestor, 0.95, seed=41), near(ancestor, 0.95, seed=42)
    assert np.mean(similarities(sibling, sketch_of(source))) > 0.8
    since = sketch_of(source, ancestor)
    assert np.mean(similarities(source, since)) == pytest.approx(1.0, abs=0.01)
    assert abs(np.mean(similarities(sibling, since))) < 0.25
    assert np.mean(similarities(near(source, 0.99, seed=43), since)) > 0.7
    assert similarities(ancestor, since) == [0.0] * 4


def test_a_layer_that_the_ancestor_had_already_is_not_sketched() -> None:
    ancestor = drawn(40)
    head_only = {**ancestor, "head": drawn(41)["head"]}
    assert [one.shape[0] for one in sketch_of(head_only, ancestor).layers] == [3]


def test_a_sketch_tells_a_quarter_of_a_filters_directions_half_of_small_ones() -> None:
    # Filters of 27, 144, 24 and 32 weights.
    assert [one.numbers.shape[1] for one in sketch_of(SOURCE).layers] == [13, 36, 12, 16]
    # A least-squares guess from d of D directions has the cosine sqrt(d / D) with the filter.
    layer, numbers = layers_of(network(SOURCE)).layers[1], sketch_of(SOURCE).layers[1].numbers
    from adapters.weights.balanced import balanced
    from adapters.weights.sketch import signs

    drawn_signs = signs(SEED, 16 * 9, 36)
    guess = numbers @ np.linalg.pinv(drawn_signs)
    truth = balanced(layer.kernel).reshape(24, -1)
    cosines = (guess * truth).sum(axis=1) / np.linalg.norm(guess, axis=1)
    assert cosines.mean() == pytest.approx(np.sqrt(36 / 144), abs=0.05)


@pytest.mark.parametrize(
    "text",
    ["", "0:1 ", "0:01", "00:1", "0:10001", "1:5 0:5", "0:5 0:5", "x", "-m", "hidden=0", "0:-0"],
)
def test_a_text_that_no_comparison_writes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        from_text(text)


def test_a_text_is_read_as_it_was_written() -> None:
    layers = compare_layers(sketch_of(SOURCE), layers_of(network(near(SOURCE, 0.8))).layers)
    told = Similarities(layers=layers, num_layers=4, num_hidden=1)
    assert from_text(to_text(told)) == told
