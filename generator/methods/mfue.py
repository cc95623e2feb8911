"""MFUE triggers: error-minimising images over a pool of mimics.

Xu et al., "MFUE", KDD 2026, Eq. 3-4: minimise over ``||d||_inf <= 8/255`` the mean over the pool of
``CE(f_k(x + d), y)`` with y the true label, by sign-gradient descent (`generator.crafting.descent`)
over the whole pool in every step.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.crafting.descent import Descended, DescentSettings
from generator.crafting.ensemble import Ensemble
from generator.crafting.kept_blocks import KeptBlocks, descend_in_blocks, objective_digest


def craft_triggers(
    pool: Sequence[nn.Module],
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    settings: DescentSettings,
    *,
    work: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Descended:
    """Minimise the pool's mean loss around each carrier.

    Args:
        pool: Models that take pixels in [0, 1] and return logits; all of them in every step.
        carriers: Clean images ``[N, H, W, C]``.
        labels: Their true classes ``[N]``.
        settings: The paper's radius is 8 levels.
        work: Folder for blocks of triggers that are finished.
        on_step: Called with (triggers finished, triggers in all) after every step.

    Returns:
        Triggers with their mean cross-entropy over the pool in nats.
    """
    ensemble = Ensemble(pool)
    kept = None
    if work is not None:
        kept = KeptBlocks(work, "trigger", objective_digest([pool], settings, "mean loss"))
    return descend_in_blocks(
        ensemble.losses_and_gradients, carriers, labels, settings, kept=kept, on_step=on_step
    )
