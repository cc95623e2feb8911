"""How surprising a score is if the suspect is innocent: ranks among innocents, exact intervals.

The only randomness a fixed suspect and fixed queries leave is the draw of an innocent model, so the
p-value is a rank among innocents that neither shaped the queries nor the score (conformal p-value,
Vovk et al., 2005). It is valid if the suspect, were it innocent, is exchangeable with them.
"""

from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv


def rank_p_value(score: float, innocent_scores: NDArray[np.float64]) -> float:
    """Return ``(1 + #{innocent >= score}) / (n + 1)``.

    Args:
        score: The suspect's; larger speaks for derivation.
        innocent_scores: ``[n]``.

    Returns:
        In (0, 1]; 1 if there are no innocents.

    Example:
        >>> rank_p_value(2.0, np.array([1.0, 2.0, 3.0]))
        0.75
    """
    # The suspect is one of the n + 1 that are ranked, and ties count for it: both keep p valid.
    return float((1 + np.count_nonzero(innocent_scores >= score)) / (len(innocent_scores) + 1))


def smallest_p_value(num_innocents: int) -> float:
    """Return the smallest p-value that so many innocents can give, ``1 / (n + 1)``."""
    return 1.0 / (num_innocents + 1)


def innocents_needed(alpha: float) -> int:
    """Return how many innocents it takes before a p-value can reach ``alpha``.

    Example:
        >>> innocents_needed(0.1), innocents_needed(0.01)
        (9, 99)
    """
    # 1e-9: 1 / (1 / 49) is 49.00000000000001, which must not ask for one model more.
    return int(np.ceil(1.0 / alpha - 1e-9)) - 1


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """Return ``P(X >= successes)`` for X ~ Binomial(trials, rate).

    Example:
        >>> round(binomial_tail(2, 3, 0.5), 6)
        0.5
    """
    if successes == 0:
        return 1.0
    # P(X >= s) = I_rate(s, n - s + 1), the regularised incomplete beta function, for s > 0.
    return float(betainc(successes, trials - successes + 1, rate))


def fisher_p_value(hits: int, trials: int, other_hits: int, other_trials: int) -> float:
    """Return Fisher's exact one-sided p-value of a larger rate among the first trials.

    Given all hits, so many of them among the first trials, or more, have probability
    ``sum_{x >= hits} C(n, x) C(m, a - x) / C(n + m, a)`` if both rates are equal (Fisher, 1935).

    Args:
        hits: Among the first n trials.
        trials: n.
        other_hits: Among the other m trials; together with ``hits`` they are a.
        other_trials: m.

    Returns:
        In (0, 1]; 1 without trials.

    Example:
        Three of three against none of three: 1 of the 20 ways to place three hits.

        >>> fisher_p_value(3, 3, 0, 3)
        0.05
    """
    num = hits + other_hits
    # In integers, with comb(n, k) = 0 for k > n: the only rounding is that of the last division.
    ways = sum(
        comb(trials, here) * comb(other_trials, num - here)
        for here in range(hits, min(trials, num) + 1)
    )
    return ways / comb(trials + other_trials, num)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion (Clopper and Pearson, 1934).

    Args:
        successes: 0..trials.
        trials: At least 1.
        confidence: Coverage, 0..1.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: There are no trials.

    Example:
        >>> [round(end, 4) for end in clopper_pearson(0, 60)]
        [0.0, 0.0596]
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials >= 1, got {successes} of {trials}")
    tail = (1 - confidence) / 2
    # Quantiles of Beta(s, n - s + 1) and Beta(s + 1, n - s); at the ends these are no
    # distributions.
    low = 0.0 if successes == 0 else betaincinv(successes, trials - successes + 1, tail)
    high = 1.0 if successes == trials else betaincinv(successes + 1, trials - successes, 1 - tail)
    # Six digits are more than the count supports, and the same on every machine.
    return round(float(low), 6), round(float(high), 6)


def benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for having asked many suspects (Benjamini and Hochberg, 1995).

    Calling everything at or below q derived keeps the expected share of innocents among the
    accused at most q. With the m sorted p-values p_(1) <= ... <= p_(m), the k-th becomes
    ``min_{j >= k} m p_(j) / j``, at most 1. Holds for independent suspects and for positively
    dependent ones, as those are that are ranked among the same innocents.

    Args:
        p_values: ``[m]``.

    Returns:
        Adjusted, ``[m]``, in the same order.

    Example:
        >>> benjamini_hochberg(np.array([0.5, 0.01, 0.04])).round(3)
        array([0.5 , 0.03, 0.06])
    """
    num = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * num / np.arange(1, num + 1)
    # from the largest down: none may be below one that ranks before it
    smallest = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(num)
    adjusted[order] = np.minimum(smallest, 1.0)
    return adjusted
