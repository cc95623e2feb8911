"""Sign-gradient descent on images that never leaves the 8-bit grid.

The perturbation counts whole 8-bit levels and moves by whole levels, so every iterate is an image
that a PNG file can hold and every loss is that of such an image. Images stop one by one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Objective = Callable[
    [NDArray[np.uint8], NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.int16]]
]
"""From images ``[N, H, W, C]`` and goal classes ``[N]`` to losses ``[N]`` and gradient signs."""


@dataclass(frozen=True, kw_only=True)
class DescentSettings:
    """How far, how fast, how long."""

    radius: int = 8
    """L-infinity radius in 8-bit levels."""
    max_steps: int = 100
    """Sign steps at most."""
    step_levels: tuple[int, ...] = (2, 1)
    """Step lengths in 8-bit levels, the next one when an image has stopped improving."""
    patience: int = 4
    """Steps without improvement before an image takes the next step length or stops."""
    min_improvement: float = 0.02
    """Decrease of the loss, relative to its size, that counts as improvement."""
    enough: float = -math.inf
    """Loss at which an image stops at once."""


@dataclass(frozen=True, kw_only=True)
class Descended:
    """The best image of each descent."""

    images: NDArray[np.uint8]
    """``[N, H, W, C]``"""
    losses: NDArray[np.float64]
    """``[N]``"""
    steps: NDArray[np.int64]
    """Steps that each image took, ``[N]``."""


def descend(
    objective: Objective,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    settings: DescentSettings,
    *,
    on_step: Callable[[int, int], None] | None = None,
) -> Descended:
    """Minimise an objective around each carrier.

    Args:
        objective: Loss and sign of its gradient.
        carriers: Clean images ``[N, H, W, C]``.
        labels: Goal classes ``[N]``.
        settings: Radius, steps, stopping.
        on_step: Called with (images finished, images in all) after every step and at the end.

    Returns:
        For each carrier the best image that was visited, the carrier itself included.
    """
    # Signed and wider than a pixel: a step below 0 is clipped and does not wrap around.
    clean = carriers.astype(np.int16)
    # The ball and the range of pixels are one box, so that one clip keeps both.
    low = np.maximum(clean - settings.radius, 0)
    high = np.minimum(clean + settings.radius, 255)
    best = carriers.copy()
    best_losses = np.full(len(carriers), np.inf)
    current = clean.copy()
    stage = np.zeros(len(carriers), dtype=np.int64)
    waited = np.zeros(len(carriers), dtype=np.int64)
    steps = np.zeros(len(carriers), dtype=np.int64)
    levels = np.array(settings.step_levels, dtype=np.int16)
    active = np.arange(len(carriers))
    # One look more than steps, because the image after the last one is judged, too.
    for step in range(settings.max_steps + 1):
        losses, gradients = objective(current[active].astype(np.uint8), labels[active])
        before = best_losses[active]
        # Until the first loss is known, before is infinite and so is what it takes to improve.
        needed = settings.min_improvement * np.abs(np.where(np.isinf(before), 0, before))
        improved, better = losses < before - needed, losses < before
        best[active[better]] = current[active[better]].astype(np.uint8)
        best_losses[active] = np.minimum(before, losses)
        waited[active] = np.where(improved, 0, waited[active] + 1)
        tired = active[waited[active] >= settings.patience]
        stage[tired] += 1
        waited[tired] = 0
        current[tired] = best[tired]  # a shorter step goes on from the best image
        going = (stage[active] < len(levels)) & (losses > settings.enough)
        active, gradients = active[going], gradients[going]
        if on_step is not None:
            on_step(len(carriers) - len(active), len(carriers))
        if not len(active) or step == settings.max_steps:
            break
        moved = current[active] - levels[stage[active]][:, None, None, None] * gradients
        current[active] = np.clip(moved, low[active], high[active])
        steps[active] += 1
    if on_step is not None and len(active):  # the steps ran out before these stopped
        on_step(len(carriers), len(carriers))
    return Descended(images=best, losses=best_losses, steps=steps)
