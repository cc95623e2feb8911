"""Views of an image: what a deployer's server may show a model instead, open to gradients."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

View = Callable[[Tensor], Tensor]
"""From pixels ``[N, C, H, W]`` in [0, 1] to as many of the same shape and range."""


def keep(pixels: Tensor) -> Tensor:
    """Show the image itself."""
    # A view of its own, so that a gradient can be taken with respect to it.
    return pixels.view_as(pixels)


def mirror(pixels: Tensor) -> Tensor:
    """Swap left and right."""
    return pixels.flip(3)


def coarse(pixels: Tensor) -> Tensor:
    """Resize to three quarters and back, which also blurs as JPEG and filters do."""
    size = pixels.shape[2:]
    smaller = [max(1, 3 * side // 4) for side in size]
    there = functional.interpolate(pixels, size=smaller, mode="bilinear", antialias=True)
    return functional.interpolate(there, size=list(size), mode="bilinear", antialias=True)


def shift(pixels: Tensor) -> Tensor:
    """Move everything by a pixel to the left and up; the border repeats itself."""
    return functional.pad(pixels, (0, 1, 0, 1), mode="replicate")[:, :, 1:, 1:]


def views_of(*, is_mirrored: bool) -> tuple[View, ...]:
    """Return the views that queries are crafted over.

    Args:
        is_mirrored: Whether the source keeps its accuracy on mirrored images.
    """
    if not is_mirrored:
        return keep, coarse, lambda pixels: coarse(shift(pixels))
    return keep, mirror, coarse, lambda pixels: coarse(shift(mirror(pixels)))
