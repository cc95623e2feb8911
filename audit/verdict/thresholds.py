"""Where a score begins to mean "derived" and where it stops meaning it.

Two conformal bounds, from models that neither shaped the queries nor are ever reported on: above
the upper one at most a share alpha of innocents is expected, below the lower one at most a share
beta of derived models. A verdict takes more: a score that is nearer to the typical model of one
kind than to the bound of the other. Between the two thresholds a score decides nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    The upper bound is the largest innocent score but ``floor(alpha (n + 1)) - 1``, so that being
    above it is the same as `audit.verdict.p_values.rank_p_value` at most alpha; the lower one
    mirrors it for derived models. "Derived" begins half-way from the upper bound to the median
    derived model, "independent" half-way from the lower bound to the median innocent, unless these
    lie on the wrong side of the bound. Both guarantees stay, a suspect that is like neither
    population is called neither, and few queries tell which half a clear suspect is in.

    Args:
        innocent_scores: ``[n]``.
        derived_scores: ``[m]``.
        alpha: False-positive rate, (0, 1).
        beta: Miss rate, (0, 1).

    Returns:
        The thresholds; infinite on a side that has too few models for its rate.

    Example:
        >>> conformal_thresholds(np.arange(9.0), np.arange(10.0, 19.0), alpha=0.1, beta=0.1)
        Thresholds(derived_above=11.0, independent_below=7.0)
    """
    return Thresholds(
        derived_above=_derived_above(innocent_scores, derived_scores, alpha),
        # Negated, "as low as few derived models are" reads "as high as few innocents are".
        independent_below=-_derived_above(-derived_scores, -innocent_scores, beta),
    )


def _derived_above(
    innocent_scores: NDArray[np.float64], derived_scores: NDArray[np.float64], alpha: float
) -> float:
    bound = _upper_bound(innocent_scores, alpha)
    if not np.isfinite(bound) or not len(derived_scores):
        return bound
    # A median below the bound must not pull the threshold inside it: there alpha does not hold.
    return (bound + max(bound, float(np.median(derived_scores)))) / 2


def _upper_bound(scores: NDArray[np.float64], rate: float) -> float:
    # 1e-9: a product such as 0.29 * 100 = 28.999999999999996 still counts as 29.
    allowed = int(np.floor(rate * (len(scores) + 1) + 1e-9))
    if allowed < 1:
        return float("inf")
    # Above it lie at most allowed - 1 innocents, so that p is at most allowed / (n + 1) <= rate.
    return float(np.sort(scores)[::-1][allowed - 1])
