"""MFUE's triggers of one pack, with the probes that stand for them where only labels are told."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.crafting.descent import DescentSettings
from generator.crafting.probing import UsableProbes, find_probes
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.methods.mfue import craft_triggers
from generator.settings import CraftSettings
from generator.sources.source import Source
from generator.sources.torch_suspect import predict_logits

SPARE_TRIGGERS = 1.3
"""Triggers crafted per trigger wanted: some have no usable probes."""


@dataclass(frozen=True, kw_only=True)
class PackTriggers:
    """A pack's triggers, N of them; none where no score asks for them."""

    images: NDArray[np.uint8]
    """``[N, H, W, C]``"""
    carriers: ImageSet
    probes: UsableProbes | None
    """None where no score asks for them."""
    summary: str
    """What was made, for a line on the screen; empty without triggers."""


def craft_pack_triggers(
    source: Source,
    images: ImageSet,
    mimics: Sequence[nn.Module],
    settings: CraftSettings,
    pack: int,
    rng: np.random.Generator,
    report: Callable[[str, int, int], None],
    work: Path | None = None,
) -> PackTriggers:
    """Craft the triggers of a pack, and find their probes.

    Args:
        source: The owner's model.
        images: The pack's part of the held-out images.
        mimics: What the triggers are crafted with.
        settings: See `CraftSettings`.
        pack: From 1 on; its probes have a seed of their own.
        rng: Source of every draw.
        report: Progress.
        work: Folder for what is finished.

    Raises:
        GenerationError: Too few images, or no trigger has usable probes.
    """
    if not settings.has_triggers:
        none = images.take(np.arange(0))
        return PackTriggers(images=none.images, carriers=none, probes=None, summary="")
    carriers = _carriers(source, images, settings.num_triggers, rng)
    crafted = craft_triggers(
        mimics,
        carriers.images,
        carriers.labels,
        DescentSettings(radius=settings.trigger_radius, max_steps=settings.max_steps),
        work=work,
        on_step=lambda done, total: report("triggers", done, total),
    )
    told = f" triggers ({crafted.steps.mean():.0f} steps each), "
    if not settings.has_probes:
        first = np.arange(min(settings.num_triggers, len(carriers)))
        return PackTriggers(
            images=crafted.images[first],
            carriers=carriers.take(first),
            probes=None,
            summary=f"{len(first)}{told}",
        )
    usable = find_probes(
        source.model,
        crafted.images,
        carriers.labels,
        kind=settings.probes,
        num_probes=settings.num_probes,
        num_wanted=settings.num_triggers,
        seed=_probe_seed(source, settings.seed, pack),
        rng=rng,
        on_step=lambda done, total: report("probes", done, total),
    )
    if not len(usable.kept):
        raise GenerationError(
            f"triggers: none of {len(carriers)} has an alpha at which half of its "
            f"{settings.probes} probes cross the source's boundary; try --probes noise or more "
            "triggers"
        )
    return PackTriggers(
        images=crafted.images[usable.kept],
        carriers=carriers.take(usable.kept),
        probes=usable,
        summary=f"{len(usable.kept)}{told}",
    )


def _carriers(
    source: Source, candidates: ImageSet, num_triggers: int, rng: np.random.Generator
) -> ImageSet:
    """Take clean images that the source gets right, class-balanced, with spares."""
    right = predict_logits(source.model, candidates.images).argmax(axis=1) == candidates.labels
    usable = candidates.take(np.flatnonzero(right))
    if len(usable) < num_triggers:
        raise GenerationError(
            f"images: {num_triggers} triggers need as many held-out images that the source gets "
            f"right, found {len(usable)}; give more images or fewer --triggers"
        )
    return usable.take(usable.balanced_order(rng)[: round(SPARE_TRIGGERS * num_triggers)])


def _probe_seed(source: Source, seed: int, pack: int) -> bytes:
    named = f"{source.weights_sha256}/{seed}" + (f"/{pack}" if pack > 1 else "")
    return hashlib.sha256(named.encode()).digest()
