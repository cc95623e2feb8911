"""Hardened innocents: what hardened copies of the source are set against while queries are crafted.

Adversarial training makes models answer alike, whoever they are. A query that only copies see
hardened learns to tell hardening, and a thief's hardened copy looks like any hardened innocent.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from generator.images.labelled import ImageSet
from generator.pools.copies import SELECTION_RADII
from generator.pools.preconditions import control_accuracy_of
from generator.pools.references import PoolModel, torch_pool_model
from generator.pools.removal import harden_in_steps
from generator.training.checkpoints import kept_or_made, run_digest
from generator.training.device import seeded
from generator.training.ranks import current_ranks


def harden_innocents(
    innocents: Sequence[PoolModel],
    images: ImageSet,
    controls: ImageSet,
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
    work: Path | None = None,
) -> list[PoolModel]:
    """Harden the most accurate innocent as the selection's copies are hardened.

    Args:
        innocents: Those that shape queries.
        images: What the copies are hardened with: pairs differ in nothing but lineage.
        controls: Say who is accurate.
        epochs: As the copies'; 0 hardens none.
        learning_rate: Likewise.
        seed: Source of every random draw.
        work: Folder for those that are finished.

    Returns:
        One model for each of `SELECTION_RADII`; none where no innocent has gradients.
    """
    usable = [model for model in innocents if model.network is not None]
    if not usable or not epochs:
        return []
    chosen = max(usable, key=lambda model: control_accuracy_of(model, controls))
    assert chosen.network is not None, "only those with gradients were kept"
    names = [f"{chosen.name}-hardened-{radius}" for radius in SELECTION_RADII]
    ranks = current_ranks()
    made: list[nn.Module] = [copy.deepcopy(chosen.network) for _ in names]
    network = chosen.network

    def harden() -> list[nn.Module]:
        return harden_in_steps(
            network,
            images,
            [radius / 255 for radius in SELECTION_RADII],
            generator=seeded(seed, "hardened innocents"),
            epochs=epochs,
            learning_rate=learning_rate,
        )

    if ranks.is_first:
        paths = []
        if work is not None:
            run = run_digest(network, images, [*SELECTION_RADII, epochs, learning_rate, seed])[:16]
            paths = [work / f"innocent-hardened-{one}-{run}.safetensors" for one in SELECTION_RADII]
        made = kept_or_made(made, paths, harden)
    for model in made:
        ranks.share(model, owner=0)
    return [
        torch_pool_model(
            model,
            name=name,
            role="innocent",
            stratum="hardened",
            lineage=chosen.lineage,
            provenance=f"{chosen.name}, fine-tuned adversarially at {radius}/255",
        )
        for model, name, radius in zip(made, names, SELECTION_RADII, strict=True)
    ]
