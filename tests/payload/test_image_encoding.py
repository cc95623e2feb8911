"""PNG files hold exactly the pixels that they were made of, whoever reads them."""

import io

import numpy as np
import pytest
from PIL import Image as Picture

from adapters.endpoint.description import Image
from adapters.payload.image_encoding import encode


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 3), (28, 28, 1), (32, 32, 3), (7, 3, 3), (64, 42, 3), (90, 70, 3)]
)
def test_a_png_holds_the_pixels(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Picture.open(io.BytesIO(encode(image, Image()))) as read:
        read.load()  # checks the sums of all chunks
        assert read.format == "PNG"
        assert read.mode == ("L" if shape[2] == 1 else "RGB")
        assert np.array_equal(np.asarray(read).reshape(shape), image)


def test_large_images_are_compressed() -> None:
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    assert len(encode(image, Image())) < image.size / 20
