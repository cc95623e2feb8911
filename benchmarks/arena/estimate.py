"""How long a population will take, from a few timed batches of every architecture."""

import time
from collections.abc import Sequence
from functools import cache

import torch
from torch.nn import functional

from benchmarks.arena.make import Workshop
from benchmarks.arena.members import Member
from generator.pools.reference_kinds import KINDS

_BATCHES = 3
_FREE_EXTRA, _PGD_EXTRA = 1.0, 0.5
"""Image gradients come free with weight gradients; each PGD step perturbs half of a batch."""


def estimated_seconds(missing: Sequence[Member], workshop: Workshop) -> float:
    """Return the seconds that one process needs for some members.

    Args:
        missing: Who is to be made.
        workshop: Times its batches where the members will be trained.
    """

    @cache
    def seconds_per_image(family: str, width: int) -> float:
        return _timed(workshop, family, width)

    recipe = workshop.recipe
    total = 0.0
    for one in missing:
        settings = one.settings
        family = str(settings.get("family", recipe.family))
        width = int(settings.get("width", recipe.width))
        total += _image_passes(one, workshop) * seconds_per_image(family, width)
    return total


def _image_passes(one: Member, workshop: Workshop) -> float:
    """Return how many images go forward and backward through a member's network in training."""
    settings, data = one.settings, workshop.data
    epochs = float(settings.get("epochs", 0.0))
    match one.how:
        case "train":
            return epochs * float(settings.get("num_images", len(data.owner)))
        case "reference":
            kind = KINDS[int(settings["number"]) % len(KINDS)]
            teachers = 2 if kind.is_distilled or kind.is_tuned else 1
            return teachers * epochs * kind.epochs * kind.share * len(data.owner)
        case "fine-tune" | "prune":
            return epochs * len(data.attacker) / 2
        case "harden":
            steps = float(settings["steps"])
            return epochs * len(data.attacker) / 2 * (_FREE_EXTRA + _PGD_EXTRA * steps)
        case "extract":
            return epochs * len(data.attacker) * (2 if settings["augmented"] else 1)
    return 0.0


def _timed(workshop: Workshop, family: str, width: int) -> float:
    size = workshop.recipe.batch_size
    height, side, channels = workshop.data.owner.images.shape[1:]
    model = workshop.untrained(family, width, 0).train()
    images = torch.rand(size, channels, height, side, device=workshop.device)
    goal = torch.zeros(size, dtype=torch.int64, device=workshop.device)

    def step() -> None:
        functional.cross_entropy(model(images), goal).backward()  # type: ignore[no-untyped-call]

    step()  # the first one sets everything up
    _wait(workshop.device)
    started = time.perf_counter()
    for _ in range(_BATCHES):
        step()
    _wait(workshop.device)
    return (time.perf_counter() - started) / (_BATCHES * size)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
