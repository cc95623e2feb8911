"""How long a model takes on this machine: a few steps, measured."""

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from generator.images.labelled import ImageSet
from generator.training.loop import MAX_TRAINING_BYTES, TrainingRecipe, to_unit_interval, train

_MIN_SECONDS = 0.2
"""A measurement is repeated until it has taken so long."""
_WARM_UP = 2


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds for one image, and what a step takes of memory."""

    forward: float
    input_gradient: float
    training: float
    """Forward, backward, update."""
    peak_bytes: int
    """Of this process, after a training step."""


def measure_speed(model: nn.Module, images: ImageSet) -> Speed:
    """Measure a model; it stays as it is.

    Args:
        model: Pixels in [0, 1] to logits, on the device that computes.
        images: Some of what it will be trained on.
    """
    device = next(model.parameters()).device
    image_bytes = 4 * int(np.prod(images.images.shape[1:]))
    num = max(_WARM_UP, min(len(images), 128, MAX_TRAINING_BYTES // image_bytes))
    some = images.take(np.arange(min(num, len(images))))
    pixels = to_unit_interval(torch.from_numpy(np.ascontiguousarray(some.images)).to(device))
    goal = torch.from_numpy(some.labels).to(device)
    changed = copy.deepcopy(model)
    fixed = copy.deepcopy(model).eval().requires_grad_(False)

    def forward(count: int) -> None:
        with torch.inference_mode():
            fixed(pixels[:count]).sum().item()

    def input_gradient(count: int) -> None:
        asked = pixels[:count].detach().requires_grad_()
        loss = functional.cross_entropy(fixed(asked), goal[:count], reduction="sum")
        torch.autograd.grad(loss, asked)[0].sum().item()

    def training(count: int) -> None:
        recipe = TrainingRecipe(epochs=1, batch_size=count, learning_rate=0.0)
        part = some.take(np.arange(count))
        train(changed, part, recipe, generator=torch.Generator().manual_seed(0))

    # Dropout draws from the global generator, which nobody else shall notice.
    with torch.random.fork_rng(devices=[]):
        seconds = [_seconds(step, len(some)) for step in (forward, input_gradient, training)]
    return Speed(
        forward=seconds[0],
        input_gradient=seconds[1],
        training=seconds[2],
        peak_bytes=_peak_bytes(),
    )


def _seconds(step: Callable[[int], None], num: int) -> float:
    """Return the time of one image, after a step that nobody times."""
    step(min(_WARM_UP, num))
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _MIN_SECONDS:
        step(num)
        done += num
    return (time.perf_counter() - started) / done


def _peak_bytes() -> int:
    """Return the most memory that this process has had, 0 where nobody tells."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
