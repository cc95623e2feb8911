"""Exact tests of two samples, against all arrangements."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from audit.verdict.two_samples import exceedance_p_value, rank_sum_p_value


@pytest.mark.parametrize(("num", "num_others", "rank"), [(3, 4, 1), (4, 3, 2), (2, 5, 5)])
def test_exceedances_are_counted_over_all_arrangements(
    num: int, num_others: int, rank: int
) -> None:
    counts = []
    for places in combinations(range(num + num_others), num):
        others = [place for place in range(num + num_others) if place not in places]
        bound = sorted(others, reverse=True)[rank - 1]
        counts.append(sum(place > bound for place in places))
    for above in range(num + 1):
        expected = np.mean([count >= above for count in counts])
        assert exceedance_p_value(above, num, num_others, rank) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("some", "others"),
    [([1.0, 4.0, 6.0], [2.0, 3.0, 5.0, 7.0]), ([2.0, 2.0, 3.0], [1.0, 2.0, 2.0]), ([1.0], [1.0])],
)
def test_rank_sums_are_counted_over_all_choices(some: list[float], others: list[float]) -> None:
    ranks = rankdata([*some, *others])
    observed = ranks[: len(some)].sum()
    sums = [sum(choice) for choice in combinations(ranks, len(some))]
    expected = np.mean([one >= observed - 1e-9 for one in sums])
    assert rank_sum_p_value(np.array(some), np.array(others)) == pytest.approx(expected)


def test_an_empty_sample_says_nothing() -> None:
    assert rank_sum_p_value(np.array([]), np.array([1.0])) == 1.0
    assert rank_sum_p_value(np.array([1.0]), np.array([])) == 1.0


def test_draws_of_one_population_are_refuted_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        some, others = rng.normal(size=20), rng.normal(size=9)
        found.append(exceedance_p_value(int((some > others.max()).sum()), 20, 9, 1))
    # 5 % of 2,000 are 100, with a standard deviation of 10.
    assert np.mean(np.array(found) <= 0.05) <= 0.065
