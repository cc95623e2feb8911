"""What a server may do to an image before a model sees it."""

import io
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from generator.training.device import seeded

Change = Callable[[Tensor], Tensor]
"""From pixels ``[N, C, H, W]`` in [0, 1] to as many of the same shape."""


def on_grid(pixels: Tensor) -> Tensor:
    """Round to the 8 bits that a server's images have."""
    return (pixels.clamp(0, 1) * 255).round() / 255


def jpeg(quality: int) -> Change:
    """Encode as JPEG of a quality and decode."""

    def encoded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        file, is_grey = io.BytesIO(), image.shape[2] == 1
        Image.fromarray(image[:, :, 0] if is_grey else image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).reshape(image.shape)

    def change(pixels: Tensor) -> Tensor:
        # [N, C, H, W] -> [N, H, W, C] on 8 bits, and back
        images = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        decoded = torch.from_numpy(np.stack([encoded(image) for image in images]))
        return decoded.to(pixels.device).permute(0, 3, 1, 2).float() / 255

    return change


def blur(sigma: float) -> Change:
    """Blur with a Gaussian of 5 pixels; sigma in pixels."""
    steps = torch.arange(-2.0, 3.0)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = torch.outer(weights, weights) / weights.sum() ** 2

    def change(pixels: Tensor) -> Tensor:
        channels = pixels.shape[1]
        # [5, 5] -> [C, 1, 5, 5]: every channel by itself
        filters = kernel.to(pixels.device).expand(channels, 1, 5, 5)
        padded = functional.pad(pixels, (2, 2, 2, 2), mode="replicate")
        return functional.conv2d(padded, filters, groups=channels)

    return change


def median(*, is_cross: bool) -> Change:
    """Take the median of 3x3 neighbours, or of those that share an edge."""
    kept = [1, 3, 4, 5, 7] if is_cross else list(range(9))

    def change(pixels: Tensor) -> Tensor:
        num, channels, height, width = pixels.shape
        padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
        # [N, C, H + 2, W + 2] -> [N, C, 9, H, W]
        around = functional.unfold(padded, 3).view(num, channels, 9, height, width)
        return around[:, :, kept].median(2).values

    return change


def resized(factor: float) -> Change:
    """Resize the sides by a factor, and back to what the model takes."""

    def change(pixels: Tensor) -> Tensor:
        size = tuple(pixels.shape[2:])
        other = [max(1, round(side * factor)) for side in size]
        there = functional.interpolate(pixels, size=other, mode="bilinear", antialias=True)
        return functional.interpolate(there, size=size, mode="bilinear", antialias=True)

    return change


def noisy(levels: float, seed: int) -> Change:
    """Add Gaussian noise with a standard deviation in 8-bit levels."""

    def change(pixels: Tensor) -> Tensor:
        # The same for the n-th image of every batch, so that a run can be repeated to the byte.
        drawn = torch.randn(pixels.shape, generator=seeded(seed, "noise"))
        return pixels + drawn.to(pixels.device) * (levels / 255)

    return change


def mirrored(pixels: Tensor) -> Tensor:
    """Swap left and right."""
    return pixels.flip(3)


def shifted(pixels: Tensor) -> Tensor:
    """Move everything one pixel to the right and down; the border repeats itself."""
    return functional.pad(pixels, (1, 0, 1, 0), mode="replicate")[:, :, :-1, :-1]


def as_it_is(pixels: Tensor) -> Tensor:
    """Change nothing."""
    return pixels
