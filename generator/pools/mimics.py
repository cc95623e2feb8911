"""The mimic pool: snapshots of the source under adversarial fine-tuning.

MFUE (Xu et al., KDD 2026), section 4: the source is trained on with L-infinity perturbations of
4/255 at learning rate 0.001, clean images mixed in, one snapshot an epoch, ten in all. Batch norm
runs in training mode during the weight step, as training does.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from generator.images.labelled import ImageSet
from generator.training.checkpoints import restore, run_digest, store
from generator.training.device import seeded
from generator.training.loop import FreeAdversary, TrainingRecipe, train
from generator.training.ranks import current_ranks


@dataclass(frozen=True, kw_only=True)
class MimicSettings:
    """How the pool is made; the defaults are the paper's."""

    num_mimics: int = 10
    """Snapshots, n."""
    radius: float = 4 / 255
    """L-infinity radius of the perturbations, in [0, 1] pixel units."""
    learning_rate: float = 0.001
    replays: int = 4
    """Passes over each batch (free adversarial training)."""
    batch_size: int = 128
    """Half perturbed, half clean."""


def make_mimics(
    source: nn.Module,
    data: ImageSet,
    settings: MimicSettings,
    *,
    seed: int,
    work: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[nn.Module], int]:
    """Fine-tune the source adversarially and keep a copy after every epoch.

    Each epoch draws from its own generator and starts with fresh momentum, so that a run which is
    killed and started again gives the same pool as one that is not.

    Args:
        source: Stays as it is.
        data: The owner's labelled images.
        settings: Size of the pool and adversary.
        seed: Source of every random draw.
        work: Folder for finished snapshots; taken up again if they belong to the same run.
        on_step: Called with (steps done, steps in all).

    Returns:
        The pool, and how many of its snapshots were already in ``work``.
    """
    recipe = TrainingRecipe(
        epochs=1,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        one_cycle=False,
        adversary=FreeAdversary(radius=settings.radius, replays=settings.replays),
    )
    run = run_digest(source, data, [asdict(settings), seed])
    current = copy.deepcopy(source)
    pool: list[nn.Module] = []
    num_found, ranks = 0, current_ranks()
    for number in range(settings.num_mimics):
        path = None if work is None else work / f"mimic-{run[:16]}-{number:02d}.safetensors"
        # One epoch builds on the one before: the first process trains, the others wait.
        if ranks.is_first and path is not None and restore(current, path):
            num_found += 1
        elif ranks.is_first:

            def report(step: int, total: int, number: int = number) -> None:
                if on_step is not None:
                    on_step(number * total + step, settings.num_mimics * total)

            # Of its own for each epoch: a run that begins here draws what a whole one would.
            generator = seeded(seed, "mimic", number)
            train(current, data, recipe, generator=generator, on_step=report)
            if path is not None:
                store(current, path)
        ranks.share(current, owner=0)
        # A copy, because the next epoch goes on from this very network.
        pool.append(copy.deepcopy(current).eval())
    return pool, num_found
