"""How well a score separates derived models from innocents, with intervals.

Models of one kind resemble each other, so intervals come from a bootstrap over kinds (attack
families of derived models, strata of innocents), not over models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Separation:
    """One figure with its 95 % interval."""

    value: float
    low: float
    high: float


def auc(derived: Scores, innocent: Scores) -> float:
    """Return the area under the ROC curve, ties counting one half (Mann-Whitney).

    Example:
        >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        0.875
    """
    order = np.sort(innocent)
    below = np.searchsorted(order, derived, side="left")
    not_above = np.searchsorted(order, derived, side="right")
    return float((below + not_above).sum() / (2 * len(derived) * len(innocent)))


def aruc(derived: Scores, innocent: Scores) -> float:
    """Return IPGuard's area under robustness and uniqueness (Cao et al., AsiaCCS 2021).

    ``R(t)`` is the share of derived models that score at least t, ``U(t)`` the share of innocents
    below; the area under ``min(R, U)`` for t from 0 to 1. For scores in [0, 1] only.

    Example:
        >>> aruc(np.array([1.0, 1.0]), np.array([0.5, 0.5]))
        0.5
    """
    # Both are steps: exact between neighbouring scores.
    ends = np.unique(np.clip(np.concatenate([[0.0, 1.0], derived, innocent]), 0, 1))
    middles = (ends[1:] + ends[:-1]) / 2
    robust = (derived[:, None] >= middles).mean(axis=0)
    unique = (innocent[:, None] < middles).mean(axis=0)
    return float((np.minimum(robust, unique) * np.diff(ends)).sum())


def true_positive_rate(derived: Scores, innocent: Scores, false_positive_rate: float) -> float:
    """Return the share of derived models above the threshold that so many innocents pass.

    With fewer innocents than the rate can resolve, none may pass.

    Example:
        >>> true_positive_rate(np.array([1.0, 3.0]), np.array([0.0, 2.0]), 0.01)
        0.5
    """
    allowed = int(np.floor(false_positive_rate * len(innocent) + 1e-9))
    threshold = np.sort(innocent)[::-1][allowed] if allowed < len(innocent) else -np.inf
    return float((derived > threshold).mean())


def equal_error_rate(derived: Scores, innocent: Scores) -> float:
    """Return the smallest ``max(miss rate, false-positive rate)`` over all thresholds.

    Example:
        >>> equal_error_rate(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
        0.5
    """
    thresholds = np.concatenate([[-np.inf], np.unique(np.concatenate([derived, innocent]))])
    misses = (derived[:, None] <= thresholds).mean(axis=0)
    alarms = (innocent[:, None] > thresholds).mean(axis=0)
    return float(np.maximum(misses, alarms).min())


def bootstrap(
    measure: Callable[[Scores, Scores], float],
    derived: Mapping[str, Scores],
    innocent: Mapping[str, Scores],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Separation:
    """Return a figure with a 95 % interval over draws of whole kinds, with replacement.

    Args:
        measure: Of all derived and all innocent scores.
        derived: Scores by kind.
        innocent: Scores by kind.
        num_draws: Of the bootstrap.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)

    def drawn(groups: Sequence[Scores]) -> Scores:
        return np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])

    guilty, cleared = list(derived.values()), list(innocent.values())
    draws = [measure(drawn(guilty), drawn(cleared)) for _ in range(num_draws)]
    low, high = np.percentile(draws, [2.5, 97.5])
    value = measure(np.concatenate(guilty), np.concatenate(cleared))
    return Separation(value=value, low=float(low), high=float(high))
