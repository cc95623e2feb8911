"""What a file says of its images is the vendor's word: taken where it makes sense, else left."""

import pytest

from adapters.onnx.metadata import recipe_from_metadata


def test_mean_and_std_are_taken_in_units_of_one_or_of_255() -> None:
    unit = recipe_from_metadata({"mean": "[0.5, 0.4, 0.3]", "std": "[0.2, 0.2, 0.2]"})
    bytes_ = recipe_from_metadata({"image_mean": "[123, 117, 104]", "image_std": "[58, 57, 57]"})
    assert unit is not None
    assert (unit.mean, unit.scale) == ((0.5, 0.4, 0.3), 1 / 255)
    assert bytes_ is not None
    assert (bytes_.mean, bytes_.scale) == ((123.0, 117.0, 104.0), 1.0)


@pytest.mark.parametrize(
    "mean",
    ["1" + "0" * 400, "9" * 5000, "[1e999, 0, 0]", "[NaN, 0, 0]", '["a", 0, 0]', "[" * 9999, "{}"],
    ids=lambda text: text[:12],
)
def test_a_number_that_is_none_is_left(mean: str) -> None:
    assert recipe_from_metadata({"mean": mean, "std": "[1, 1, 1]"}) is None
