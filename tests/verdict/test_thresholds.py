"""Where "derived" begins and "independent" ends."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.verdict.p_values import rank_p_value
from audit.verdict.thresholds import Thresholds, conformal_thresholds


def thresholds(
    innocents: NDArray[np.float64],
    derived: NDArray[np.float64],
    kinds: list[str] | None = None,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
    has_equals: bool = True,
) -> Thresholds:
    named = np.array(kinds or ["pruned"] * len(derived), dtype=np.str_)
    return conformal_thresholds(
        innocents, derived, named, alpha=alpha, beta=beta, has_equals=has_equals
    )


@pytest.mark.parametrize("apart", [0.0, 1.5, 6.0])
def test_whatever_is_decided_has_a_p_value_of_at_most_its_rate(apart: float) -> None:
    rng = np.random.default_rng(1)
    innocents, derived = rng.normal(size=39), rng.normal(apart, size=39)
    limits = thresholds(innocents, derived)
    scores = rng.normal(apart / 2, 2 + apart / 2, size=500)
    accused, cleared = scores > limits.derived_above, scores < limits.independent_below
    assert accused.any()
    assert cleared.any()
    assert not (accused & cleared).any()
    assert all(rank_p_value(score, innocents) <= 0.1 for score in scores[accused])
    assert all(rank_p_value(-score, -derived) <= 0.1 for score in scores[cleared])
    # What is cleared looks like an innocent, too.
    assert all(rank_p_value(score, innocents) > 0.1 for score in scores[cleared])


def test_a_verdict_is_nearer_to_its_own_kind_than_to_the_bound_of_the_other() -> None:
    # Innocents 0 to 8, derived models 10 to 18. Innocents' bound 8, median derived model 14: 11.
    # Half-way from the lowest derived model to the median innocent: (10 + 4) / 2.
    limits = thresholds(np.arange(9.0), np.arange(10.0, 19.0))
    assert (limits.derived_above, limits.independent_below) == (11.0, 7.0)


def test_above_every_innocent_nobody_is_cleared_however_far_the_derived_models_are() -> None:
    # Half-way would be 52. An innocent on its bound of 8 may be cleared, nobody above it.
    limits = thresholds(np.arange(9.0), np.arange(100.0, 109.0))
    assert 8.0 < limits.independent_below < 8.0 + 1e-9


def test_the_kind_that_is_nearest_to_innocents_sets_the_accusing_margin() -> None:
    # Medians 10, 20 and 30 of three kinds; the bound is 8.
    derived = np.array([9.0, 10.0, 11.0, 19.0, 20.0, 21.0, 29.0, 30.0, 31.0])
    kinds = ["hardened"] * 3 + ["pruned"] * 3 + ["tuned"] * 3
    assert thresholds(np.arange(9.0), derived, kinds).derived_above == 9.0
    # Where no innocent is as good as the source: the median of all, 20.
    weak = thresholds(np.arange(9.0), derived, kinds, has_equals=False)
    assert weak.derived_above == 14.0


def test_a_kind_that_scores_like_innocents_is_named_and_moves_no_margin() -> None:
    # Hardened copies have a median of 8, on the bound. Without them the kind at 20 is nearest.
    derived = np.array([3.0, 8.0, 9.0, 19.0, 20.0, 21.0, 29.0, 30.0, 31.0])
    kinds = ["hardened"] * 3 + ["pruned"] * 3 + ["tuned"] * 3
    limits = thresholds(np.arange(9.0), derived, kinds, beta=0.2)
    assert limits.blind_kinds == ("hardened",)
    assert limits.derived_above == 14.0
    # The copy at 3 is below the median innocent, 4; the lowest that is told apart is 8. Beta of
    # 0.2 allows floor(0.2 * 10) - 1 = 1 derived model below the bound, which is then 8.
    assert limits.independent_below == 6.0


def test_where_too_many_copies_score_like_innocents_few_are_cleared() -> None:
    # Derived models 0 to 8 as innocents: none may lie below the bound, which is 0.
    limits = thresholds(np.arange(9.0), np.arange(9.0))
    assert (limits.derived_above, limits.independent_below) == (8.0, 0.0)


def test_a_rate_allows_what_its_product_says_before_it_is_rounded() -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point, and still allows 29 - 1 above the bound.
    limits = thresholds(np.arange(99.0), np.empty(0), alpha=0.29)
    assert limits.derived_above == 70.0


def test_too_few_models_for_a_rate_never_decide() -> None:
    assert thresholds(np.zeros(8), np.ones(9)).derived_above == math.inf
    assert thresholds(np.zeros(9), np.ones(8)).independent_below == -math.inf
    assert thresholds(np.empty(0), np.ones(9)).independent_below == -math.inf
