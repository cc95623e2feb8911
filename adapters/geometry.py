"""How a picture of any size becomes the pixels that a classifier takes: resize, then centre crop.

To the pixel what torchvision's transforms do with Pillow images, and with them timm's and Hugging
Face's (Pillow works on the 8-bit grid, where bundles live). Without antialiasing: what
``torch.nn.functional.interpolate`` and OpenCV do, rounded to 8 bits.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapters.preprocessing import Resampling

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 4096
"""Largest height and width that a geometry may ask for, pixels."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Resizing and centre crop."""

    resize: int | tuple[int, int] | None = None
    """Shorter side in pixels, the aspect kept; or exact height and width; None leaves the size."""
    resampling: Resampling = "bilinear"
    antialias: bool = True
    """Whether a filter widens when it shrinks, as Pillow's always do; box and lanczos need it."""
    crop: tuple[int, int] | None = None
    """Height and width of the centre crop; where the picture is smaller, black is added."""
    crop_start: Literal["rounded", "floored"] = "rounded"
    """Where the crop begins if an odd number of pixels is left over: torchvision rounds half to
    even, Hugging Face rounds down."""

    def __post_init__(self) -> None:
        """Check what a user can get wrong.

        Raises:
            ValueError: A field is out of range; the message names it.
        """
        for name in ("resize", "crop"):
            value = getattr(self, name)
            sides = (value,) if isinstance(value, int) else value
            if sides is not None and not all(1 <= side <= MAX_SIDE for side in sides):
                raise ValueError(f"{name}: expected pixels from 1 to {MAX_SIDE}, got {value}")
        if not self.antialias and self.resampling not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                "antialias: expected true, or nearest, bilinear or bicubic as resampling, got "
                f"false with {self.resampling}"
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """Return height and width of every result; None where they follow the picture's."""
        if self.crop is not None:
            return self.crop
        return self.resize if isinstance(self.resize, tuple) else None


def apply_geometry(picture: "Image", geometry: Geometry) -> NDArray[np.uint8]:
    """Resize and crop one picture.

    Args:
        picture: Pillow image of mode L or RGB.
        geometry: What to do.

    Returns:
        Pixels ``[H, W, C]``, 0-255.
    """
    width, height = picture.size
    target = _resized_size(height, width, geometry.resize)
    if target == (height, width):
        pixels = np.asarray(picture, dtype=np.uint8)
    elif geometry.antialias:
        from PIL.Image import Resampling as Filter

        resized = picture.resize((target[1], target[0]), Filter[geometry.resampling.upper()])
        pixels = np.asarray(resized, dtype=np.uint8)
    else:
        pixels = _interpolated(np.asarray(picture, dtype=np.uint8), target, geometry.resampling)
    pixels = pixels.reshape(*pixels.shape[:2], -1)  # [H, W] -> [H, W, 1]
    return pixels if geometry.crop is None else _cropped(pixels, geometry)


def _resized_size(height: int, width: int, resize: int | tuple[int, int] | None) -> tuple[int, int]:
    if resize is None:
        return height, width
    if isinstance(resize, tuple):
        return resize
    # As torchvision has it: the longer side is cut down to whole pixels, not rounded.
    longer = int(resize * max(height, width) / min(height, width))
    return (resize, longer) if height <= width else (longer, resize)


def _cropped(pixels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    assert geometry.crop is not None
    height, width = geometry.crop
    missing = [
        max(0, want - have) for want, have in zip((height, width), pixels.shape, strict=False)
    ]
    if any(missing):
        # The odd pixel goes below and to the right.
        margins = [(side // 2, side - side // 2) for side in missing]
        pixels = np.pad(pixels, [*margins, (0, 0)])
    starts = []
    for have, want in zip(pixels.shape, (height, width), strict=False):
        half = (have - want) / 2
        starts.append(round(half) if geometry.crop_start == "rounded" else int(half))
    top, left = starts
    return pixels[top : top + height, left : left + width]


def _interpolated(
    pixels: NDArray[np.uint8], target: tuple[int, int], resampling: Resampling
) -> NDArray[np.uint8]:
    """Resize ``[H, W]`` or ``[H, W, C]`` by the points next to each new one, however it shrinks."""
    values: NDArray[Any] = pixels
    for axis, size in enumerate(target):
        places, weights = _taps(pixels.shape[axis], size, resampling)
        taken = np.take(values, places, axis=axis)  # [.., T, S, ..]
        shape = [1] * taken.ndim
        shape[axis : axis + 2] = weights.shape
        values = (taken * weights.reshape(shape)).sum(axis=axis)
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)


def _taps(
    before: int, after: int, resampling: Resampling
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where each new pixel looks, and with which weight: two arrays ``[T, after]``."""
    if resampling == "nearest":
        places = np.arange(after) * before // after
        return places[None], np.ones((1, after))
    # Pixel centres lie at one half.
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    if resampling == "bilinear":
        centres = centres.clip(0)
        first = np.floor(centres)
        shares = centres - first
        offsets, weights = np.arange(2), np.stack([1 - shares, shares])
    else:
        first = np.floor(centres)
        shares = centres - first
        offsets = np.arange(-1, 3)
        weights = np.stack([_cubic(shares - offset) for offset in offsets])
    places = (first.astype(np.int64) + offsets[:, None]).clip(0, before - 1)
    return places, weights


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.75, as torch and OpenCV have it."""
    a, x = -0.75, np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
