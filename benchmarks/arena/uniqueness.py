"""Uniqueness Score: how much better a fingerprint knows its own model than strangers.

Wang et al., "Characteristic Examples: High-Robustness, Low-Transferability Fingerprinting of Neural
Networks", IJCAI 2021: robustness, the mean matching rate over pruned variants of the source, minus
transferability, the mean matching rate over models that have nothing to do with it. A low score
warns of false alarms.
"""

import numpy as np
from numpy.typing import NDArray


def uniqueness_score(
    pruned: NDArray[np.float64], unassociated: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return the score with its two parts.

    Args:
        pruned: Matching rates of the source's pruned variants, ``[P]`` in [0, 1].
        unassociated: Matching rates of independent models, ``[U]`` in [0, 1].

    Returns:
        Uniqueness in [-1, 1], robustness and transferability in [0, 1].

    Raises:
        ValueError: Either is empty or holds something else than rates.

    Example:
        >>> uniqueness_score(np.array([1.0, 0.5]), np.array([0.25]))
        (0.5, 0.75, 0.25)
    """
    for name, rates in (("pruned", pruned), ("unassociated", unassociated)):
        if not len(rates):
            raise ValueError(f"{name}: expected at least 1 matching rate, got none")
        if not ((rates >= 0) & (rates <= 1)).all():
            raise ValueError(f"{name}: expected matching rates in [0, 1], got {rates.tolist()}")
    robustness, transferability = float(pruned.mean()), float(unassociated.mean())
    return robustness - transferability, robustness, transferability
