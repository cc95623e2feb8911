"""Does a suspect answer early queries and late ones like the same model?

Who knows that an audit has begun may answer its beginning like a stranger and the rest like the
copy that it is. "Independent" therefore takes that the late third of what was asked looks innocent
by itself, and the rest by itself: each score below the threshold that the calibration models set on
the same queries. That makes clearing rarer, so that no stated rate is touched.

Whether it changed its mind is an exact test that needs no model at all. The queries stand in a
random order. If an answer depends on its image alone, the answers that speak for derivation are
spread over early and late queries as if drawn from an urn, whatever the model (Fisher, 1935): a
suspect that does not remember what it was asked before is wrongly said to change with probability
at most the level of the test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.verdict.outcome import Parts
from audit.verdict.p_values import fisher_p_value
from audit.verdict.populations import Populations
from audit.verdict.rule import DecisionRule
from audit.verdict.thresholds import conformal_thresholds

CHANGE_LEVEL = 0.01
"""A suspect has changed its mind if answers that depend on their images alone come to such a
difference less often than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedValues:
    """What answers to n queries are worth, in the order of asking."""

    suspect: NDArray[np.float64]
    """``[n]``"""
    models: NDArray[np.float64]
    """Of the R calibration models, ``[R, n]``."""
    tilt: float
    """An answer worth more than this speaks for derivation (`audit.verdict.early_stop.TILTS`)."""


def num_early(num: int) -> int:
    """Return how many of n queries are early ones: two thirds.

    Example:
        >>> num_early(22), num_early(1)
        (14, 0)
    """
    return num - (num + 2) // 3


def compare_parts(values: AskedValues, compared: Populations, rule: DecisionRule) -> Parts:
    """Compare the early answers with the late ones, and each with the calibration models'."""
    num, early = len(values.suspect), num_early(len(values.suspect))
    return Parts(
        num_early=early,
        num_late=num - early,
        early=_mean(values.suspect[:early]),
        late=_mean(values.suspect[early:]),
        early_below=_independent_below(values.models[:, :early], compared, rule),
        late_below=_independent_below(values.models[:, early:], compared, rule),
        p_value=change_p_value(values.suspect > values.tilt, early),
    )


def change_p_value(speaks: NDArray[np.bool_], early: int) -> float:
    """Return how rarely answers that depend on their images alone part so by time.

    Args:
        speaks: Which answers speak for derivation, in the order of asking, ``[n]``.
        early: How many of them are early.

    Returns:
        Twice the smaller of Fisher's two one-sided p-values, at most 1.

    Example:
        >>> early_only = np.array([True] * 4 + [False] * 2)
        >>> round(change_p_value(early_only, 4), 6)  # 2 / C(6, 2)
        0.133333
    """
    first, rest = speaks[:early], speaks[early:]
    counts = int(first.sum()), len(first)
    others = int(rest.sum()), len(rest)
    return min(1.0, 2 * min(fisher_p_value(*counts, *others), fisher_p_value(*others, *counts)))


def is_agreed(parts: Parts) -> bool:
    """Return whether early and late answers both look innocent, and like one model's."""
    return (
        _is_below(parts.early, parts.early_below)
        and _is_below(parts.late, parts.late_below)
        and not has_changed(parts)
    )


def has_changed(parts: Parts) -> bool:
    """Return whether early and late answers are hardly one model's."""
    return parts.p_value <= CHANGE_LEVEL


def looks_innocent(
    suspect: NDArray[np.float64],
    models: NDArray[np.float64],
    compared: Populations,
    rule: DecisionRule,
) -> bool:
    """Return whether a score is below the threshold that models set on the same queries.

    Args:
        suspect: What its answers are worth, ``[n]``.
        models: What the R calibration models' are, ``[R, n]``.
        compared: Who the models are.
        rule: The error rates.
    """
    return _is_below(_mean(suspect), _independent_below(models, compared, rule))


def _is_below(value: float, bound: float | None) -> bool:
    return bound is not None and value < bound


def _independent_below(
    models: NDArray[np.float64], compared: Populations, rule: DecisionRule
) -> float | None:
    if not models.shape[1]:
        return None
    means = models.sum(axis=1) / models.shape[1]  # [R, n] -> [R]
    found = conformal_thresholds(
        compared.innocent(means),
        compared.derived(means),
        compared.derived_kinds,
        alpha=rule.alpha,
        beta=rule.beta,
        has_equals=compared.has_equals,
    ).independent_below
    return found if np.isfinite(found) else None


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.sum() / max(1, len(values)))
