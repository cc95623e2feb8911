"""Where a score begins to mean "derived" and where it stops meaning it.

Two conformal thresholds, from models that neither shaped the queries nor are ever reported on:
above ``derived_above`` at most a share alpha of innocents is expected, below ``independent_below``
at most a share beta of derived models. Between the two a score decides nothing: either innocent and
derived models overlap there, or neither kind was ever seen there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAP_SHARE = 0.1
"""Share of an empty gap that still counts to the population at its end: thresholds are set by few
models, and the next one of a kind lies a little beyond them now and then."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The two ends of the undecided range."""

    derived_above: float
    """A score above this is "derived"."""
    independent_below: float
    """A score below this is "independent"."""


def conformal_thresholds(
    innocent_scores: NDArray[np.float64],
    derived_scores: NDArray[np.float64],
    *,
    alpha: float,
    beta: float,
) -> Thresholds:
    """Set the thresholds.

    The upper threshold is the largest innocent score but ``floor(alpha (n + 1)) - 1``, so that
    being above it is the same as `audit.significance.rank_p_value` at most alpha; the lower one
    mirrors it for derived models. Where the two do not overlap, a suspect in the gap between them
    is like neither population: it is called derived only from nine tenths of the gap on, and
    independent only up to one tenth, which is stricter than both guarantees.

    Args:
        innocent_scores: ``[n]``.
        derived_scores: ``[m]``.
        alpha: False-positive rate, (0, 1).
        beta: Miss rate, (0, 1).

    Returns:
        The thresholds; infinite on a side that has too few models for its rate.

    Example:
        >>> conformal_thresholds(np.arange(9.0), np.arange(10.0, 19.0), alpha=0.1, beta=0.1)
        Thresholds(derived_above=9.8, independent_below=8.2)
    """
    upper = _upper_threshold(innocent_scores, alpha)
    lower = -_upper_threshold(-derived_scores, beta)
    if np.isfinite(upper) and np.isfinite(lower) and upper < lower:
        margin = GAP_SHARE * (lower - upper)
        upper, lower = lower - margin, upper + margin
    return Thresholds(derived_above=float(upper), independent_below=float(lower))


def _upper_threshold(scores: NDArray[np.float64], rate: float) -> float:
    # 1e-9: a product such as 0.29 * 100 = 28.999999999999996 still counts as 29.
    allowed = int(np.floor(rate * (len(scores) + 1) + 1e-9))
    if allowed < 1:
        return float("inf")
    return float(np.sort(scores)[::-1][allowed - 1])
