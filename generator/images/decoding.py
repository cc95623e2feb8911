"""One image file as 8-bit grey or RGB pixels, the right way up.

What ``PIL.Image.convert("RGB")`` makes of palettes, CMYK and transparency, as torchvision's image
folders do; of several frames the first. 16 bits a pixel become 8 by leaving out the lower ones.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
)
"""What Pillow raises about files that are no images, or broken ones."""

_ORIENTATION = 0x0112
"""EXIF tag; from 5 on, width and height change places."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself before it is decoded."""

    height: int
    width: int
    is_grey: bool


def read_header(file: BinaryIO) -> ImageHeader:
    """Read size and colour without decoding.

    Raises:
        Exception: One of `UNREADABLE`.
    """
    with Image.open(file) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
        return ImageHeader(height, width, is_grey=_is_grey(image.mode))


def decode(file: BinaryIO) -> Image.Image:
    """Decode an image to mode L or RGB, turned as its EXIF data say.

    Raises:
        Exception: One of `UNREADABLE`.
    """
    with Image.open(file) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode in ("L", "RGB"):
            return turned.copy() if turned is image else turned
        if turned.mode == "F":
            raise ValueError("its pixels are fractions; save them with 8 bits")
        if turned.mode.startswith("I"):
            pixels = np.asarray(turned)
            if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 0xFFFF:
                raise ValueError("its pixels have more than 16 bits; save them with 8 bits")
            return Image.fromarray((pixels >> 8).astype(np.uint8))
        if turned.mode == "P" and "transparency" in turned.info:
            # The same colours, without Pillow's warning about how they were stored.
            turned = turned.convert("RGBA")
        return turned.convert("L" if _is_grey(turned.mode) else "RGB")


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")
