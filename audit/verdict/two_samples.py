"""Are two samples of innocents draws of one population? Exact tests on ranks alone.

A bundle's own innocents and a judge's are exchangeable if the claim holds: any arrangement of both
in one ranking is as likely as any other. Nothing is assumed about how scores are distributed.
"""

from math import comb

import numpy as np
from numpy.typing import NDArray


def exceedance_p_value(num_above: int, num: int, num_others: int, rank: int) -> float:
    """Return how rarely so many of one sample lie above a high one of the other.

    Above the k-th largest of m others lie x of n with probability
    ``C(x + k - 1, x) C(n - x + m - k, n - x) / C(n + m, n)`` (exceedance test, Gumbel and von
    Schelling, 1950): both samples are draws, also the one that sets the bound.

    Args:
        num_above: Members of the sample strictly above, 0..n; ties so count for the claim.
        num: n.
        num_others: m.
        rank: k, 1..m.

    Returns:
        Probability of so many or more.

    Example:
        Two above the larger of two: one of the six arrangements.

        >>> round(exceedance_p_value(2, 2, 2, 1), 6)
        0.166667
    """
    ways = sum(
        comb(above + rank - 1, above) * comb(num - above + num_others - rank, num - above)
        for above in range(num_above, num + 1)
    )
    return ways / comb(num + num_others, num)


def rank_sum_p_value(some: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return how rarely a sample ranks so high among another (Wilcoxon, 1945; one-sided).

    The distribution of the rank sum over all choices of n among the n + m, with the ties that are
    there (equal values share the mean of their ranks).

    Args:
        some: ``[n]``, the sample that may be higher.
        others: ``[m]``.

    Returns:
        Probability of a rank sum at least as large; 1 where a sample is empty.

    Example:
        One above three: one of four places.

        >>> rank_sum_p_value(np.array([4.0]), np.array([1.0, 2.0, 3.0]))
        0.25
    """
    num, pooled = len(some), np.concatenate([some, others])
    if not num or num == len(pooled):
        return 1.0
    # Twice the mean rank is an integer: values below, plus values at most as high, plus one.
    ordered = np.sort(pooled)
    ranks = (
        np.searchsorted(ordered, pooled, "left") + np.searchsorted(ordered, pooled, "right") + 1
    ).astype(np.int64)
    # chances[j, s]: share of the ways to choose j so far whose ranks add up to s. A member comes
    # into a choice of n out of N with the same chance whatever was seen before, so that rows are
    # counts divided by C(N, j): no number grows beyond floats.
    largest = int(np.sort(ranks)[::-1][:num].sum())
    chances = np.zeros((num + 1, largest + 1))
    chances[0, 0] = 1.0
    for seen, rank in enumerate(ranks, start=1):
        for chosen in range(min(seen, num), 0, -1):
            share = chosen / seen
            kept = chances[chosen] * (1 - share)
            kept[rank:] += chances[chosen - 1, : largest + 1 - rank] * share
            chances[chosen] = kept
    observed = int(ranks[:num].sum())
    return float(min(1.0, chances[num, observed:].sum()))
