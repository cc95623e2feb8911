"""Shadow models: those that an image is optimised with, and those that it is screened with.

MetaFinger's "DNN augmentation" makes more of few models: copies that are pruned or whose weights
are noisy (`generator.pools.removal`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.crafting.ensemble import frozen
from generator.crafting.fingerprint import Pools
from generator.pools.removal import add_weight_noise, prune
from generator.sources.torch_suspect import predict_logits
from generator.training.device import seeded

_PRUNING = (0.1, 0.45)
"""Range of shares of the weights that copies lose; public code: 0.3."""
_WEIGHT_NOISE = (0.05, 0.15)
"""Range of the noise of copies in units of each tensor's deviation; public code: 0.1."""


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """Shadow models by use; no model, nor a copy of it, serves both uses but the source."""

    positives: list[nn.Module]
    """Optimise; the source comes first."""
    negatives: list[nn.Module]
    validation_positives: list[nn.Module]
    """Screen."""
    validation_negatives: list[nn.Module]


def split_pools(
    source: nn.Module,
    pools: Pools,
    images: NDArray[np.uint8],
    *,
    validation_share: float,
    source_copies: int,
    innocent_copies: int,
    rng: np.random.Generator,
) -> Shadows:
    """Split the pools into models that optimise and models that screen, and add copies.

    Both uses get models of every degree of likeness to the source: were all strong innocents to
    screen, none would have taught the images to leave them.

    Args:
        source: Its copies go to both uses, each with a draw of its own.
        pools: At least two models of either kind.
        images: On which models are compared with the source, ``[M, H, W, C]``.
        validation_share: Share of each pool, and of the source's copies, that screens.
        source_copies: Copies of the source, in all.
        innocent_copies: Copies of each innocent that optimises.
        rng: Source of the split and of the copies.
    """
    seed = int(rng.integers(2**31))
    answers = predict_logits(source, images).argmax(axis=1)

    def split(models: Sequence[nn.Module]) -> tuple[list[nn.Module], list[nn.Module]]:
        likeness = [
            float((predict_logits(model, images).argmax(axis=1) == answers).mean())
            for model in models
        ]
        return _split(models, likeness, validation_share, rng)

    derived, validation_derived = split(pools.derived)
    innocents, validation_innocents = split(pools.innocents)
    copies = _copies([source] * source_copies, "source", seed, rng)
    negatives = _copies(innocents * innocent_copies, "innocent", seed, rng)
    num_screening = round(validation_share * len(copies))
    return Shadows(
        positives=[*frozen([source, *derived]), *copies[num_screening:]],
        negatives=[*frozen(innocents), *negatives],
        validation_positives=[*frozen(validation_derived), *copies[:num_screening]],
        validation_negatives=frozen(validation_innocents),
    )


def _split(
    models: Sequence[nn.Module],
    likeness: Sequence[float],
    validation_share: float,
    rng: np.random.Generator,
) -> tuple[list[nn.Module], list[nn.Module]]:
    """Sort by likeness, cut into as many runs as models screen, and draw one of each run."""
    num = min(max(1, round(validation_share * len(models))), len(models) - 1)
    runs = np.array_split(np.argsort(likeness, kind="stable"), num)
    drawn = {int(rng.choice(run)) for run in runs}
    rest = [model for number, model in enumerate(models) if number not in drawn]
    return rest, [models[number] for number in sorted(drawn)]


def _copies(
    models: Sequence[nn.Module], purpose: str, seed: int, rng: np.random.Generator
) -> list[nn.Module]:
    """Return a pruned copy of the first, a noisy one of the second, and so on in turn.

    Models without convolutions or linear layers have nothing to prune and get no copy.
    """
    changed = []
    for number, model in enumerate(models):
        if not any(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules()):
            continue
        if number % 2 == 0:
            changed.append(prune(model, float(rng.uniform(*_PRUNING))))
        else:
            noise = float(rng.uniform(*_WEIGHT_NOISE))
            generator = seeded(seed, purpose, number)
            changed.append(add_weight_noise(model, noise, generator=generator))
    return [model.eval().requires_grad_(False) for model in changed]
