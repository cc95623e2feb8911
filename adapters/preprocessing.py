"""How 8-bit pixels become the tensor that a classifier takes.

The steps, in this order: channels, colour order, resizing, ``(pixel * scale - mean) / std``,
data type, layout. Resampling is Pillow's (bilinear and bicubic widen their support when they
shrink). Nothing here looks at a model: `adapters.onnx.input` finds out what a file wants.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal[
    "NCHW", "NHWC", "NHW", "CHW", "HWC", "HW", "N(CHW)", "N(HWC)", "N(CHW)1", "N(HWC)1"
]
"""Axes of the model's input; those without N take one image, N(...) is one row per image, and a 1
behind it an axis of that size."""

ColorOrder = Literal["RGB", "BGR"]
Resampling = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
InputDtype = Literal["float32", "float16", "float64", "uint8", "int8", "int32"]

UNIT_SCALE = 1 / 255
"""Scale that maps pixels to [0, 1]."""

_LUMA_16 = (19595, 38470, 7471)
"""ITU-R 601 luma in 16-bit fixed point, as Pillow's mode "L" has it."""

LUMA = tuple(weight / 65536 for weight in _LUMA_16)
"""How much of red, green and blue is in grey."""

INT8_OFFSET = 128
"""An int8 input holds ``pixel - 128``: the zero point of an 8-bit image at scale 1/255."""

CHUNK_VALUES = 1 << 18
"""Values normalised at once, so that the float32 values stay in the cache."""


@dataclass(frozen=True, kw_only=True)
class InputRecipe:
    """Everything that turns uint8 images into a model's input."""

    size: tuple[int, int] | None = None
    """Height and width in pixels; None leaves the images as they are."""
    resampling: Resampling = "bilinear"
    """Filter used where `size` differs from the images' size."""
    crop: float = 1.0
    """Side of the central crop over the side of the resized image, (0, 1]; 0.875 is 224 of 256."""
    channels: Literal[1, 3] | None = None
    """Channels of the tensor: 3 to 1 is ITU-R 601 luma, 1 to 3 repeats; None leaves them."""
    color_order: ColorOrder = "RGB"
    """Order of the tensor's three channels; images are RGB."""
    scale: float = UNIT_SCALE
    """Factor on the pixel, before the mean is taken off."""
    mean: tuple[float, ...] = (0.0,)
    """Per channel of the tensor in RGB order, or one for all, in units of ``pixel * scale``."""
    std: tuple[float, ...] = (1.0,)
    """Per channel of the tensor in RGB order, or one for all, in units of ``pixel * scale``."""
    dtype: InputDtype = "float32"
    """Type of the tensor; uint8 and int32 take the pixel, int8 the pixel minus 128."""
    layout: Layout = "NCHW"

    def __post_init__(self) -> None:
        """Check what a user can get wrong.

        Raises:
            ValueError: A field is out of range; the message names it.
        """
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ValueError(f"size: expected height and width of at least 1, got {self.size}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: expected a number in (0, 1], got {self.crop}")
        if not np.isfinite(self.scale) or self.scale <= 0:
            raise ValueError(f"scale: expected a positive number, got {self.scale}")
        if not np.isfinite(self.mean).all():
            raise ValueError(f"mean: expected finite numbers, got {self.mean}")
        if not np.isfinite(self.std).all() or min(self.std, default=0.0) <= 0:
            raise ValueError(f"std: expected positive numbers, got {self.std}")
        allowed = {1, 3} if self.channels is None else {1, self.channels}
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in allowed:
                raise ValueError(
                    f"{name}: expected one value or one per channel "
                    f"({self.channels or '1 or 3'}), got {len(values)}"
                )

    @property
    def is_integer(self) -> bool:
        """Return whether the model normalises for itself."""
        return self.dtype in ("uint8", "int8", "int32")


def apply(
    recipe: InputRecipe, images: NDArray[np.uint8], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Turn images into the tensor that the model takes.

    Args:
        recipe: What to do.
        images: Pixels ``[N, H, W, C]``, RGB or grey, 0-255; N is 1 for layouts without N.
        out: Tensor of an earlier call to write into; used if its shape and type fit.

    Returns:
        The tensor in the recipe's layout and type, C-contiguous.

    Raises:
        ValueError: The images do not fit the recipe.

    Example:
        >>> recipe = InputRecipe(mean=(0.5,), std=(0.5,))
        >>> tensor = apply(recipe, np.array([[[[0, 51, 255]]]], dtype=np.uint8))
        >>> [round(float(value), 3) for value in tensor.ravel()]
        [-1.0, -0.6, 1.0]
    """
    pixels = _resized(recipe, _with_channels(images, recipe.channels))
    num_images, height, width, channels = pixels.shape
    if "N" not in recipe.layout and num_images != 1:
        raise ValueError(f"images: expected 1 for layout {recipe.layout}, got {num_images}")
    if recipe.layout in ("NHW", "HW") and channels != 1:
        raise ValueError(f"channels: expected 1 for layout {recipe.layout}, got {channels}")
    if recipe.color_order == "BGR" and channels == 3:
        pixels = pixels[..., ::-1]
    channels_first = recipe.layout in ("NCHW", "CHW", "N(CHW)", "N(CHW)1")
    if channels_first:
        pixels = pixels.transpose(0, 3, 1, 2)  # [N, H, W, C] -> [N, C, H, W]
    shape = _tensor_shape(recipe.layout, num_images, height, width, channels)
    dtype = np.dtype(recipe.dtype)
    if out is None or out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        out = np.empty(shape, dtype)
    tensor = out.reshape(pixels.shape)
    channel_axis = 1 if channels_first else 3
    if recipe.is_integer:
        offset = INT8_OFFSET if recipe.dtype == "int8" else 0
        np.subtract(pixels, offset, out=tensor, dtype=np.int16, casting="unsafe")
        return out
    slope, offsets = _slope_and_offset(recipe, channels)
    if recipe.dtype == "float16":
        _look_up(pixels, slope, offsets, channel_axis, tensor)
        return out
    if channels_first:
        slope, offsets = slope.reshape(-1, 1, 1), offsets.reshape(-1, 1, 1)
    slope, offsets = slope.astype(dtype), offsets.astype(dtype)
    step = max(1, CHUNK_VALUES // max(1, height * width * channels))
    for start in range(0, num_images, step):
        part = tensor[start : start + step]
        part[...] = pixels[start : start + step]
        part *= slope
        part += offsets
    return out


def _look_up(
    pixels: NDArray[np.uint8],
    slope: NDArray[np.float64],
    offsets: NDArray[np.float64],
    channel_axis: int,
    out: NDArray[Any],
) -> None:
    """Write the table entry of each pixel into ``out``: converting to float16 is slow, this not."""
    tables = (np.arange(256) * slope[:, None] + offsets[:, None]).astype(np.float16)  # [C, 256]
    pixels, out = np.moveaxis(pixels, channel_axis, 0), np.moveaxis(out, channel_axis, 0)
    for table, source, target in zip(tables, pixels, out, strict=True):
        np.take(table, source, out=target, mode="clip")


@lru_cache(maxsize=64)
def _slope_and_offset(
    recipe: InputRecipe, channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fold ``(pixel * scale - mean) / std`` into ``pixel * slope + offset``, per channel."""
    mean, std = np.asarray(recipe.mean, np.float64), np.asarray(recipe.std, np.float64)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ValueError(
                f"{name}: expected one value or {channels}, one per channel of the model's input, "
                f"got {len(values)}"
            )
    mean, std = np.broadcast_to(mean, channels), np.broadcast_to(std, channels)
    if recipe.color_order == "BGR":
        mean, std = mean[::-1], std[::-1]
    slope, offsets = recipe.scale / std, -mean / std
    for shared in (slope, offsets):
        shared.setflags(write=False)
    return slope, offsets


def _with_channels(images: NDArray[np.uint8], channels: int | None) -> NDArray[np.uint8]:
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images: expected uint8 [N, H, W, 1 or 3], "
            f"got {images.dtype} {list(images.shape)}"
        )  # fmt: skip
    if channels is None or images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = images.astype(np.uint32) @ np.array(_LUMA_16, np.uint32)
    return ((luma + 0x8000) >> 16).astype(np.uint8)[..., None]


def _resized(recipe: InputRecipe, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if recipe.size is None or (recipe.size == images.shape[1:3] and recipe.crop == 1):
        return images
    from PIL import Image

    height, width = recipe.size
    full_height, full_width = round(height / recipe.crop), round(width / recipe.crop)
    top, left = (full_height - height) // 2, (full_width - width) // 2
    resampling = Image.Resampling[recipe.resampling.upper()]
    resized = np.empty((len(images), height, width, images.shape[-1]), np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
        pixels = np.asarray(picture.resize((full_width, full_height), resampling))
        window = pixels[top : top + height, left : left + width]
        resized[index] = window.reshape(resized.shape[1:])
    return resized


def _tensor_shape(
    layout: Layout, num_images: int, height: int, width: int, channels: int
) -> tuple[int, ...]:
    if layout.startswith("N("):
        row = (num_images, height * width * channels)
        return (*row, 1) if layout.endswith("1") else row
    sizes = {"N": num_images, "H": height, "W": width, "C": channels}
    return tuple(sizes[axis] for axis in layout)
