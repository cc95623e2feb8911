"""Pixels to tensors, by hand."""

import numpy as np
import pytest
from worlds.onnx_builders import colors

from adapters.preprocessing import InputRecipe, apply

PIXEL = colors((0, 51, 255), side=1)
"""One pixel: 0, 0.2 and 1 in units of 255."""


def test_pixels_are_scaled_centred_and_divided_per_channel() -> None:
    recipe = InputRecipe(mean=(0.5, 0.1, 0.0), std=(0.5, 0.2, 0.25))
    # (0 - 0.5) / 0.5, (0.2 - 0.1) / 0.2, (1 - 0) / 0.25
    np.testing.assert_allclose(apply(recipe, PIXEL).ravel(), [-1, 0.5, 4], rtol=1e-6)


def test_bgr_takes_mean_and_std_in_rgb_order() -> None:
    recipe = InputRecipe(mean=(0.5, 0.1, 0.0), std=(0.5, 0.2, 0.25), color_order="BGR")
    np.testing.assert_allclose(apply(recipe, PIXEL).ravel(), [4, 0.5, -1], rtol=1e-6)


def test_scale_one_keeps_the_range_of_the_pixels() -> None:
    recipe = InputRecipe(scale=1.0, mean=(100.0,))
    assert apply(recipe, PIXEL).ravel().tolist() == [-100, -49, 155]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", [0, 51, 255]), ("int8", [-128, -77, 127]), ("int32", [0, 51, 255])],
)
def test_integer_inputs_take_pixels(dtype: str, expected: list[int]) -> None:
    tensor = apply(InputRecipe(dtype=dtype), PIXEL)  # type: ignore[arg-type]
    assert tensor.dtype == dtype
    assert tensor.ravel().tolist() == expected


def test_half_precision_is_the_rounded_exact_value() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    tensor = apply(InputRecipe(dtype="float16", mean=(0.4,), std=(0.3,)), pixels)
    exact = (np.arange(256) / 255 - 0.4) / 0.3
    assert tensor.ravel().tolist() == exact.astype(np.float16).tolist()


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("NCHW", (1, 3, 2, 4)),
        ("NHWC", (1, 2, 4, 3)),
        ("CHW", (3, 2, 4)),
        ("HWC", (2, 4, 3)),
        ("N(CHW)", (1, 24)),
        ("N(HWC)", (1, 24)),
    ],
)
def test_every_layout_holds_the_same_values(layout: str, shape: tuple[int, ...]) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    tensor = apply(InputRecipe(scale=1.0, layout=layout), image)  # type: ignore[arg-type]
    assert tensor.shape == shape
    expected = image.transpose(0, 3, 1, 2) if "CHW" in layout else image
    assert tensor.ravel().tolist() == expected.ravel().tolist()


def test_colour_becomes_grey_by_luma_and_grey_becomes_three_channels() -> None:
    grey = apply(InputRecipe(scale=1.0, channels=1), colors((255, 0, 0), (0, 255, 0), side=1))
    # 0.299 * 255 = 76.2 and 0.587 * 255 = 149.7
    assert grey.ravel().tolist() == [76, 150]
    image = np.full((1, 1, 1, 1), 9, np.uint8)
    assert apply(InputRecipe(scale=1.0, channels=3), image).ravel().tolist() == [9, 9, 9]


def test_a_central_crop_cuts_the_border_off() -> None:
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[:, 2:6, 2:6] = 200
    tensor = apply(InputRecipe(scale=1.0, size=(4, 4), crop=0.5), image)
    assert tensor.shape == (1, 1, 4, 4)
    assert set(tensor.ravel().tolist()) == {200.0}


def test_nearest_enlarging_repeats_pixels() -> None:
    image = np.array([[1, 2]], np.uint8).reshape(1, 1, 2, 1)
    tensor = apply(InputRecipe(scale=1.0, size=(2, 4), resampling="nearest"), image)
    assert tensor[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_large_batches_equal_single_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 224, 224, 3), dtype=np.uint8)
    recipe = InputRecipe(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    together = apply(recipe, images)
    singles = np.concatenate([apply(recipe, image[None]) for image in images])
    np.testing.assert_array_equal(together, singles)
    reference = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(together, reference.transpose(0, 3, 1, 2), atol=1e-6)


def test_a_tensor_that_fits_is_written_over() -> None:
    first = apply(InputRecipe(), PIXEL)
    second = apply(InputRecipe(scale=1.0), PIXEL, first)
    assert second is first
    assert first.ravel().tolist() == [0, 51, 255]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": (0.0,)}, "std: expected positive"),
        ({"mean": (0.1, 0.2)}, r"mean: expected one value or one per channel \(1 or 3\), got 2"),
        ({"crop": 0.0}, "crop: expected a number in"),
        ({"scale": -1.0}, "scale: expected a positive"),
        ({"size": (0, 3)}, "size: expected height and width"),
    ],
)
def test_a_wrong_field_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputRecipe(**arguments)  # type: ignore[arg-type]


def test_three_means_for_a_grey_tensor_are_refused() -> None:
    with pytest.raises(ValueError, match="mean: expected one value or 1, one per channel"):
        apply(InputRecipe(mean=(0.1, 0.2, 0.3)), np.zeros((1, 2, 2, 1), np.uint8))


def test_floats_are_no_images() -> None:
    with pytest.raises(
        ValueError, match=r"images: expected uint8 \[N, H, W, 1 or 3\], got float64"
    ):
        apply(InputRecipe(), np.zeros((1, 2, 2, 3)))  # type: ignore[arg-type]
