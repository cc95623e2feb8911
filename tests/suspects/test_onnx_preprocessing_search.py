"""Which preprocessing a model wants is found by trying, and ties are called ties."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from worlds.onnx_builders import bright_or_dark, nearest_color, save

from adapters.onnx.input import RecipeOptions
from adapters.onnx.metadata import classes_from_metadata, recipe_from_metadata
from adapters.onnx.opening import open_onnx
from audit.suspects.preprocessing_search import Candidate, rank_preprocessings, sign_test


def colored_images(side: int = 8) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return 60 images whose class is one of 60 colours."""
    rng = np.random.default_rng(5)
    colors = rng.integers(0, 256, (60, 3)).astype(np.uint8)
    images = colors[:, None, None, :].repeat(side, 1).repeat(side, 2)
    return images, np.arange(60)


def test_the_normalisation_and_colour_order_of_a_model_are_found(tmp_path: Path) -> None:
    images, labels = colored_images()
    pixels = images[:, 0, 0, ::-1].astype(np.float32)  # BGR
    targets = (pixels - np.array([103.939, 116.779, 123.68], np.float32)).astype(np.float32)
    path = save(nearest_color(targets), tmp_path / "caffe.onnx")
    with open_onnx(path) as suspect:
        ranking = rank_preprocessings(suspect, images, labels)
        assert suspect.recipe.color_order == "BGR"
    assert ranking[0].name == "0 to 255 less ImageNet mean, BGR"
    assert ranking[0].num_correct == ranking[0].num_images == 60
    wrong = next(row for row in ranking if row.name == "0 to 1, RGB")
    assert not wrong.is_tied
    assert wrong.accuracy < 0.5


def test_what_the_images_cannot_tell_apart_is_a_tie(tmp_path: Path) -> None:
    # Only bright against dark counts: adding a constant to both logits changes no class.
    path = save(bright_or_dark(shape=("n", 8, 8)), tmp_path / "model.onnx")
    images = np.array([250, 5] * 10, np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    labels = np.array([0, 1] * 10)
    with open_onnx(path) as suspect:
        ranking = rank_preprocessings(suspect, images, labels)
    tied = {row.name for row in ranking if row.is_tied}
    assert {"-1 to 1", "-128 to 127", "MNIST", "-0.5 to 0.5"} <= tied
    # Everything is at least 0 there, so all is bright: 10 of 20, and 10 of 10 differences.
    assert "0 to 255" not in tied
    assert ranking[0].num_correct == 20


def test_ways_of_resizing_are_tried_where_sizes_differ(tmp_path: Path) -> None:
    images, labels = colored_images(side=16)
    targets = (images[:, 0, 0] / 255).astype(np.float32)
    path = save(nearest_color(targets), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        ranking = rank_preprocessings(suspect, images, labels)
    # Images of one colour look the same however they are resized.
    best = {row.name for row in ranking if row.num_correct == 60 and row.num_images == 60}
    assert {"0 to 1, RGB, bilinear", "0 to 1, RGB, nearest"} <= best
    assert {"0 to 1, RGB, bicubic", "0 to 1, RGB, bilinear, centre 87.5 %"} <= best


def test_integer_inputs_leave_only_the_colour_order_open(tmp_path: Path) -> None:
    model = nearest_color(np.eye(3, dtype=np.float32) * 255)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "real"
    images = (np.eye(3, dtype=np.uint8) * 255)[:, None, None, :].repeat(8, 1).repeat(8, 2)
    with open_onnx(save(model, tmp_path / "model.onnx")) as suspect:
        ranking = rank_preprocessings(suspect, images, np.arange(3))
    assert [row.name for row in ranking] == ["pixels, RGB", "pixels, BGR"]


def test_what_is_known_is_tried_under_its_own_name(tmp_path: Path) -> None:
    images, labels = colored_images()
    mean, std = (0.1, 0.7, 0.4), (0.9, 0.2, 0.4)
    targets = ((images[:, 0, 0] / 255 - mean) / std).astype(np.float32)
    known = [Candidate(name="the bundle's", options=RecipeOptions(mean=mean, std=std))]
    with open_onnx(save(nearest_color(targets), tmp_path / "model.onnx")) as suspect:
        ranking = rank_preprocessings(suspect, images, labels, known=known)
    assert ranking[0].name == "the bundle's, RGB"


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    # 2 (C(6,0)) / 2^6; 2 (C(8,0) + C(8,1)) / 2^8; nothing differs
    [(0, 6, 2 / 64), (7, 1, 18 / 256), (0, 0, 1.0)],
)
def test_the_sign_test_counts_coin_tosses(first: int, second: int, p_value: float) -> None:
    assert sign_test(first, second) == p_value


def test_image_metadata_of_the_onnx_conventions_is_understood() -> None:
    options = recipe_from_metadata(
        {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    )
    assert options == RecipeOptions(scale=1.0, mean=(0.0,), std=(1.0,), color_order="BGR")
    assert recipe_from_metadata({"author": "somebody", "mean": "[NaN]", "std": "[1]"}) is None


def test_means_above_one_are_in_units_of_the_pixel() -> None:
    options = recipe_from_metadata({"mean": "[123.7, 116.8, 103.9]", "std": "[58.4, 57.1, 57.4]"})
    assert options is not None
    assert options.scale == 1.0


@pytest.mark.parametrize(
    "text",
    ['["cat", "dog"]', '{"0": "cat", "1": "dog"}', "{0: 'cat', 1: 'dog'}", "cat\ndog", "cat, dog"],
)
def test_class_names_are_read_in_the_forms_that_exporters_write(text: str) -> None:
    assert classes_from_metadata({"names": text}) == ("cat", "dog")
