"""Images as they may arrive at a model behind an API: after JPEG, or in another size."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapters.endpoint import description as endpoint_description
from adapters.endpoint.description import EndpointDescription
from adapters.payload import image_encoding

JPEG_QUALITY = 75
"""What libraries use where nobody says otherwise."""
ENLARGEMENT = 2

Alter = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """What became of the answers when the same images arrived otherwise."""

    name: str
    """``jpeg`` or ``enlarged``."""
    num_images: int
    num_changed: int
    """Images that got another label than before."""
    num_correct: int
    largest_shift: float | None
    """Largest change of a probability; None for labels only."""
    refusal: str | None
    """What the endpoint said where it takes no such images."""


def alterations_of(description: EndpointDescription) -> dict[str, Alter]:
    """Return the ways to alter images that make sense for an endpoint, by name."""
    ways: dict[str, Alter] = {"jpeg": as_jpeg}
    if not description.sends_pixels and description.image.size is None:
        ways["enlarged"] = enlarged
    return ways


def as_jpeg(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what is left of the images after JPEG, ``[N, H, W, C]``."""
    decoded = []
    for image in images:
        buffer = io.BytesIO()
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        with Image.open(buffer) as opened:
            decoded.append(np.asarray(opened).reshape(image.shape))
    return np.stack(decoded)


def enlarged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the images at twice their size, ``[N, 2H, 2W, C]``."""
    height, width = images.shape[1:3]
    size = (height * ENLARGEMENT, width * ENLARGEMENT)
    return image_encoding.resize(images, endpoint_description.Image(size=size))
