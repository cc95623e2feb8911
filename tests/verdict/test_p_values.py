import math

import numpy as np
import pytest

from audit.verdict.p_values import (
    benjamini_hochberg,
    binomial_tail,
    clopper_pearson,
    innocents_needed,
    rank_p_value,
    smallest_p_value,
)


def test_p_value_of_the_highest_score_is_the_smallest_that_the_innocents_can_give() -> None:
    innocents = np.arange(19.0)
    assert rank_p_value(100.0, innocents) == smallest_p_value(19) == 0.05


def test_ties_count_against_the_accuser() -> None:
    assert rank_p_value(1.0, np.array([1.0, 1.0, 0.0])) == 0.75


def test_rank_p_values_of_innocents_are_valid() -> None:
    # Exchangeable scores: P(p <= a) <= a for every a on the grid, by simulation within 4 sigma.
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(20_000, 10))
    p = (1 + (draws[:, 1:] >= draws[:, :1]).sum(axis=1)) / 10
    for alpha in (0.1, 0.2, 0.5):
        assert (p <= alpha).mean() <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / 20_000)


def test_innocents_needed_is_the_least_number_whose_smallest_p_reaches_alpha() -> None:
    for alpha in (0.5, 0.1, 0.05, 0.01):
        needed = innocents_needed(alpha)
        assert smallest_p_value(needed) <= alpha + 1e-12
        assert smallest_p_value(needed - 1) > alpha


def test_clopper_pearson_meets_its_definition_at_both_ends() -> None:
    low, high = clopper_pearson(3, 20)

    def tail(p: float, ks: range) -> float:
        return sum(math.comb(20, k) * p**k * (1 - p) ** (20 - k) for k in ks)

    assert tail(low, range(3, 21)) == pytest.approx(0.025, rel=1e-4)
    assert tail(high, range(4)) == pytest.approx(0.025, rel=1e-4)


def test_clopper_pearson_has_a_closed_form_where_all_but_one_or_all_agree() -> None:
    # P(X >= 1) = 1 - (1 - p)^20 and P(X >= 20) = p^20 are 0.025 at the lower ends.
    assert clopper_pearson(1, 20)[0] == pytest.approx(1 - 0.975 ** (1 / 20), abs=1e-6)
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1), abs=1e-6)
    assert clopper_pearson(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)), abs=1e-6)
    assert clopper_pearson(19, 20)[1] == pytest.approx(0.975 ** (1 / 20), abs=1e-6)


def test_clopper_pearson_refuses_no_trials() -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials >= 1, got 0 of 0"):
        clopper_pearson(0, 0)


def test_benjamini_hochberg_follows_its_step_up_rule() -> None:
    # m = 4: 4 * 0.01 / 1 = 0.04, 4 * 0.02 / 2 = 0.04, 4 * 0.03 / 3 = 0.04, 4 * 0.9 / 4 = 0.9
    given = np.array([0.9, 0.02, 0.01, 0.03])
    assert benjamini_hochberg(given) == pytest.approx([0.9, 0.04, 0.04, 0.04])
    # q = 0.05 accuses the k with p_(k) <= k q / m for the largest such k: all three
    rng = np.random.default_rng(5)
    for _ in range(200):
        p_values = rng.random(12) ** 3
        ordered = np.sort(p_values)
        passing = np.flatnonzero(ordered <= 0.1 * np.arange(1, 13) / 12)
        cut = ordered[passing[-1]] if len(passing) else -1.0
        assert ((benjamini_hochberg(p_values) <= 0.1) == (p_values <= cut)).all()


def test_benjamini_hochberg_of_nothing_is_nothing() -> None:
    assert benjamini_hochberg(np.array([])).tolist() == []


def test_the_binomial_tail_is_the_sum_of_its_terms() -> None:
    for successes, trials, rate in ((1, 5, 0.1), (3, 40, 0.05), (7, 7, 0.3)):
        terms = sum(
            math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k)
            for k in range(successes, trials + 1)
        )
        assert binomial_tail(successes, trials, rate) == pytest.approx(terms)
    assert binomial_tail(0, 5, 0.1) == 1.0
