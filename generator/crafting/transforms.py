"""Random changes that an image may suffer before a classifier sees it, open to gradients.

Those of MetaFinger's public code, in units relative to the image, so that they fit any size.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Transform = Callable[[Tensor, np.random.Generator], Tensor]
"""From pixels ``[N, C, H, W]`` in [0, 1] to as many of the same shape and range."""

_MAX_SHEAR = 0.1
_BLUR_PROBABILITY = 0.7
_NOISE = 0.05
"""Standard deviation of normal noise and half-width of uniform noise."""
_MAX_RESIZE = 0.25
"""24 to 40 of 32 pixels."""
_MAX_SHIFT = 5 / 32


def keep(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Change nothing."""
    return pixels


def flip(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror left and right."""
    return pixels.flip(3)


def shear(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Shear along both axes by up to a tenth."""
    x, y = rng.uniform(-_MAX_SHEAR, _MAX_SHEAR, 2).tolist()
    matrix = torch.tensor([[1.0, x, 0.0], [y, 1.0, 0.0]], device=pixels.device)
    grid = functional.affine_grid(
        matrix.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=False
    )
    return functional.grid_sample(pixels, grid, align_corners=False)


def gaussian_blur(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur with the 3x3 binomial kernel, seven times of ten."""
    if rng.random() >= _BLUR_PROBABILITY:
        return pixels
    weights = torch.tensor([1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0], device=pixels.device)
    # [N, C, 9, H, W] -> [N, C, H, W]
    return (_neighbours(pixels) * (weights / 16)[:, None, None]).sum(2)


def median_blur(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Take the median of 3x3 neighbours."""
    return _neighbours(pixels).median(2).values


def average_blur(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Take the mean of 3x3 neighbours."""
    return _neighbours(pixels).mean(2)


def normal_noise(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Add normal noise to every pixel."""
    noise = rng.normal(0, _NOISE, tuple(pixels.shape)).astype(np.float32)
    return (pixels + torch.from_numpy(noise).to(pixels.device)).clamp(0, 1)


def uniform_noise(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Add uniform noise to every pixel."""
    noise = rng.uniform(-_NOISE, _NOISE, tuple(pixels.shape)).astype(np.float32)
    return (pixels + torch.from_numpy(noise).to(pixels.device)).clamp(0, 1)


def resize(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Scale by three to five quarters; pad with black or crop at a random place."""
    height, width = pixels.shape[2:]
    factor = rng.uniform(1 - _MAX_RESIZE, 1 + _MAX_RESIZE)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    scaled = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    for axis, (now, wanted) in enumerate(zip(size, (height, width), strict=True), start=2):
        start = int(rng.integers(0, abs(now - wanted) + 1))
        if now >= wanted:
            scaled = scaled.narrow(axis, start, wanted)
        else:
            scaled = _padded(scaled, axis, start, wanted - now - start)
    return scaled


def translate(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift by up to 5 of 32 pixels along both axes; black moves in."""
    for axis in (2, 3):
        size = pixels.shape[axis]
        most = int(_MAX_SHIFT * size)
        shift = int(rng.integers(-most, most + 1))
        padded = _padded(pixels, axis, max(shift, 0), max(-shift, 0))
        pixels = padded.narrow(axis, max(-shift, 0), size)
    return pixels


TRANSFORMS: Mapping[str, Transform] = {
    "none": keep,
    "flip": flip,
    "shear": shear,
    "gaussian-blur": gaussian_blur,
    "median-blur": median_blur,
    "average-blur": average_blur,
    "normal-noise": normal_noise,
    "uniform-noise": uniform_noise,
    "resize": resize,
    "translate": translate,
}
"""By name."""


def _neighbours(pixels: Tensor) -> Tensor:
    """Return each pixel's 3x3 surroundings, ``[N, C, 9, H, W]``; the border repeats itself."""
    num, channels, height, width = pixels.shape
    padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    # [N, C, H + 2, W + 2] -> [N, C * 9, H * W]
    return functional.unfold(padded, 3).view(num, channels, 9, height, width)


def _padded(pixels: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Add black rows (axis 2) or columns (axis 3)."""
    return functional.pad(pixels, (before, after, 0, 0) if axis == 3 else (0, 0, before, after))
