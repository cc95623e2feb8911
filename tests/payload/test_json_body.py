"""Numbers in JSON bodies: short, and the same again for whoever reads them."""

import json

import numpy as np
import pytest

from adapters.payload.json_body import JsonText, dumps, nested_numbers
from adapters.preprocessing import InputRecipe, apply

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int8", "int32"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 2, 4), (1, 1, 1)])
def test_numbers_are_nested_and_read_back_the_same(dtype: str, shape: tuple[int, ...]) -> None:
    values = (RNG.standard_normal(shape) * 100).astype(dtype)
    read = np.array(json.loads(nested_numbers(values).text), dtype=np.float64)
    assert read.shape == shape
    assert np.array_equal(read.astype(dtype), values)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_pixel_of_a_usual_normalisation_survives(dtype: str) -> None:
    recipe = InputRecipe(
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        dtype=dtype,  # type: ignore[arg-type]  # parametrised
    )
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    tensor = apply(recipe, pixels)
    text = nested_numbers(tensor).text
    assert np.array_equal(np.array(json.loads(text), dtype=dtype), tensor)
    assert len(text) < 15 * tensor.size  # about half of what float64 decimals take


@pytest.mark.parametrize("value", [1e-45, 3.4028235e38, -0.0, 1e16, 1e-7])
def test_numbers_at_the_ends_are_json(value: float) -> None:
    values = np.array([value], dtype=np.float32)
    (read,) = json.loads(nested_numbers(values).text)
    assert np.float32(read).tobytes() == values.tobytes()


def test_several_tensors_stand_in_their_places() -> None:
    document = {"a": [JsonText("[1]"), {"b": JsonText("[2]")}], "c": "ä [3]", "d": JsonText("4")}
    assert dumps(document) == '{"a":[[1],{"b":[2]}],"c":"ä [3]","d":4}'.encode()


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a JSON value, got set"):
        dumps({"a": {1}})
