"""Where a score begins to mean "derived" and where it stops meaning it.

Two conformal bounds, from models that neither shaped the queries nor are ever reported on: above
the upper one lies at most a share alpha of innocents, below the lower one at most a share beta of
derived models. A verdict takes more, in either direction, because a suspect may be of a kind that
nobody thought of: who is above every innocent and still far from every copy is like neither.
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
    blind_kinds: tuple[str, ...] = ()
    """Kinds of derivation that these scores do not tell from innocence."""


def conformal_thresholds(
    innocent_scores: NDArray[np.float64],
    derived_scores: NDArray[np.float64],
    derived_kinds: NDArray[np.str_],
    *,
    alpha: float,
    beta: float,
    has_equals: bool = True,
) -> Thresholds:
    """Set the thresholds.

    The innocents' bound is the largest innocent score but ``floor(alpha (n + 1)) - 1``, so that
    being above it is the same as `audit.verdict.p_values.rank_p_value` at most alpha; the derived
    models' bound mirrors it. "Derived" begins half-way from the innocents' bound to the typical
    derived model of a kind that is nearer to it than three quarters of all kinds. "Independent"
    takes a score that is below both bounds, and nearer to the median innocent than to the derived
    models' bound.

    A kind whose typical model is within the innocents' bound pulls neither threshold: it is named
    instead. A single derived model at or below the median innocent likewise moves nothing but the
    rank that beta is about.

    Args:
        innocent_scores: One a lineage, ``[n]`` (`audit.verdict.populations`).
        derived_scores: ``[m]``.
        derived_kinds: What was done to each, ``[m]``.
        alpha: False-positive rate, (0, 1).
        beta: Miss rate, (0, 1).
        has_equals: Whether an innocent is about as accurate as the source. Against weaker ones
            only, a better stranger looks derived: then "derived" begins half-way to the typical
            derived model of all kinds together.

    Returns:
        The thresholds; infinite on a side that has too few models for its rate.

    Example:
        >>> kinds = np.array(["pruned"] * 9)
        >>> conformal_thresholds(
        ...     np.arange(9.0), np.arange(10.0, 19.0), kinds, alpha=0.1, beta=0.1
        ... )
        Thresholds(derived_above=11.0, independent_below=7.0, blind_kinds=())
    """
    upper, lower = upper_bound(innocent_scores, alpha), -upper_bound(-derived_scores, beta)
    medians = {
        str(kind): float(np.median(derived_scores[derived_kinds == kind]))
        for kind in np.unique(derived_kinds)
    }
    blind = tuple(kind for kind, median in medians.items() if median <= upper)
    seen = [median for median in medians.values() if median > upper]
    if not has_equals:
        # Never below the bound: there alpha would not hold.
        seen = [max(upper, float(np.median(derived_scores)))] if len(derived_scores) else []
    # Not the nearest kind of all: one that is barely told apart would leave strangers no margin.
    above = upper
    if seen and np.isfinite(upper):
        above = (upper + sorted(seen)[(len(seen) - 1) // 4]) / 2
    if not np.isfinite(lower) or not len(innocent_scores):
        return Thresholds(derived_above=above, independent_below=-np.inf, blind_kinds=blind)
    typical = float(np.median(innocent_scores))
    # Beyond the share beta that may be missed anyway; where the bound itself is among innocents,
    # the lowest of those that are told apart.
    near = derived_scores[derived_scores > max(typical, np.nextafter(lower, -np.inf))]
    half_way = (typical + float(near.min())) / 2 if len(near) else typical
    # An innocent's score is not above the innocents' bound where it lies on it.
    below = min(half_way, lower, float(np.nextafter(upper, np.inf)))
    return Thresholds(derived_above=above, independent_below=below, blind_kinds=blind)


def upper_bound(scores: NDArray[np.float64], rate: float) -> float:
    """Return what a score must be above for its rank among others to be at most a rate.

    Args:
        scores: The others', ``[n]``.
        rate: (0, 1).

    Returns:
        The highest but ``floor(rate (n + 1)) - 1`` of them; infinite if they are too few.
    """
    # 1e-9: a product such as 0.29 * 100 = 28.999999999999996 still counts as 29.
    allowed = int(np.floor(rate * (len(scores) + 1) + 1e-9))
    if allowed < 1:
        return float("inf")
    # Above it lie at most allowed - 1 innocents, so that p is at most allowed / (n + 1) <= rate.
    return float(np.sort(scores)[::-1][allowed - 1])
