"""Calibrating innocents that are nearly one model, whatever lineages they are said to be of.

A p-value counts draws. Ninety-nine networks that were moved a little from a single one are one
draw, and a bundle alone need not show it: where all of them err alike, their errors look like those
of hard images. A judge's own models tell which images are hard: on those they disagree among
themselves, and two calibrating models that hardly ever do were made from each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.verdict.p_values import binomial_tail

MIN_STRANGERS = 5
"""Fewer cannot tell which images are contested."""
MIN_CONTESTED = 20
"""Contested images below which nothing is said."""
_UNANIMOUS = 0.8
"""Above this share for one class, strangers do not contest an image."""
NEARLY = 0.5
"""Two calibrating models are nearly one if they differ on at most this share of the contested
images on which the two most similar strangers do."""
MAX_CHANCE = 1e-3
"""So likely may that be by chance, for all pairs together."""


@dataclass(frozen=True, kw_only=True)
class NearOnes:
    """What a bundle's innocents are on contested images."""

    num_lineages: int
    """Lineages that the bundle counts."""
    num_networks: int
    """Those that are left if nearly equal models count as one."""
    num_contested: int
    num_differing: int
    """Contested images on which the two most similar strangers differ."""


def near_ones(
    labels: NDArray[np.int64], lineages: NDArray[np.int64], strangers: NDArray[np.int64]
) -> NearOnes | None:
    """Count a bundle's innocents anew.

    Args:
        labels: Classes that the bundle's R innocents give I images, ``[R, I]``.
        lineages: Number of each one's lineage, ``[R]``.
        strangers: Classes that a judge's S networks give them, one model of each, ``[S, I]``.

    Returns:
        The count; None if strangers or contested images are too few.
    """
    if len(strangers) < MIN_STRANGERS:
        return None
    num_classes = int(max(labels.max(initial=0), strangers.max(initial=0))) + 1
    # [S, I] -> [K, I]
    votes = np.array([(strangers == label).mean(axis=0) for label in range(num_classes)])
    contested = votes.max(axis=0) <= _UNANIMOUS
    num = int(contested.sum())
    if num < MIN_CONTESTED:
        return None
    among = _differing(strangers[:, contested])
    smallest = int(among[np.triu_indices(len(among), 1)].min())
    own = _differing(labels[:, contested])
    groups = lineages.copy()
    pairs = len(own) * (len(own) - 1) / 2
    for one, other in np.argwhere(np.triu(own <= NEARLY * smallest, 1)):
        if groups[one] == groups[other]:
            continue
        # As few differences or fewer are as many agreements or more.
        chance = binomial_tail(num - int(own[one, other]), num, 1 - smallest / num)
        if chance * pairs <= MAX_CHANCE:
            groups[groups == groups[other]] = groups[one]
    return NearOnes(
        num_lineages=len(np.unique(lineages)),
        num_networks=len(np.unique(groups)),
        num_contested=num,
        num_differing=smallest,
    )


def near_ones_fault(found: NearOnes | None, alpha: float, needed: int) -> Sequence[str]:
    """Return what follows for a bundle: nothing, or a sentence.

    Args:
        found: From `near_ones`.
        alpha: The rate that the bundle states.
        needed: Innocents that it takes.
    """
    if found is None or found.num_networks >= found.num_lineages:
        return ()
    told = (
        f"Of the {found.num_lineages} innocent lineages that calibrate some are nearly one model: "
        f"on {found.num_contested} images that innocent models contest they differ less than half "
        f"as often as any two of yours, and count as {found.num_networks}."
    )
    if found.num_networks < needed:
        told += f" An alpha of {alpha:g} needs {needed}."
    return (told,)


def _differing(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return on how many images each two models differ, ``[M, I]`` to ``[M, M]``."""
    return np.array([(labels != row).sum(axis=1) for row in labels], dtype=np.int64)
