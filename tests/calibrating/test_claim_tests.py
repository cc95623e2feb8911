"""What a judge's innocents say against a claim, in numbers derived by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from audit.calibrating.challenge_words import refuting_words, told
from audit.calibrating.claim_tests import AS_THEY_ARE, ClaimTest, claim_test, models_needed
from audit.calibrating.near_ones import near_ones, near_ones_fault

Array = NDArray[Any]
NOBODY = np.zeros(20, dtype=bool)
OWN = np.arange(9.0)
"""What nine innocents score; alpha = 0.1 is supported by all nine, so that 8 is the bound."""


def against(scores: Array, accused: Array = NOBODY, alpha: float = 0.1) -> ClaimTest:
    return claim_test(AS_THEY_ARE, accused, scores, OWN, alpha)


def words(test: ClaimTest) -> list[str]:
    return list(refuting_words([test], 0.1, num_first=2, num_later=0))


def test_models_that_nobody_accuses_refute_innocents_that_were_chosen_low() -> None:
    test = against(np.full(20, 8.5))
    assert (test.num_accused, test.p_accused, test.num_above) == (0, 1.0, 20)
    # All twenty above all nine: one of C(29, 9) = 10,015,005 arrangements.
    assert test.p_above == pytest.approx(1 / 10_015_005)
    assert test.p_higher == pytest.approx(1 / 10_015_005)
    (sentence,) = words(test)
    assert "Of 20 innocent models 20 score above" in sentence


def test_models_that_score_high_but_below_the_bound_refute_nothing() -> None:
    test = against(np.full(20, 7.5))
    assert test.num_above == 0
    assert test.p_above == 1.0
    assert test.p_higher is not None
    assert test.p_higher < 0.01
    assert words(test) == []


def test_of_changed_models_only_accusations_count() -> None:
    test = claim_test("behind JPEG", NOBODY, np.full(20, 8.5), OWN, 0.1)
    assert test.num_above == 20
    assert test.p_values == (1.0,)
    assert list(refuting_words([test], 0.1, num_first=2, num_later=1)) == []


def test_a_score_on_the_bound_is_not_above_it() -> None:
    assert against(np.full(20, 8.0)).num_above == 0


def test_accusations_are_counted_against_alpha() -> None:
    accused = NOBODY.copy()
    accused[:6] = True
    test = against(np.zeros(20), accused)
    # P(X >= 6), X ~ Binomial(20, 0.1) = 1 - 0.98875
    assert test.p_accused == pytest.approx(0.01125, abs=1e-5)
    assert len(words(test)) == 1
    accused[5] = False
    assert words(against(np.zeros(20), accused)) == []


def test_too_few_innocents_for_a_rate_have_no_bound() -> None:
    test = against(np.full(20, 8.5), alpha=0.05)
    assert test.num_above is None
    assert test.p_values == (1.0,)


def test_one_model_never_refutes_and_never_confirms() -> None:
    test = claim_test(AS_THEY_ARE, np.array([True]), np.array([9.0]), OWN, 0.1)
    # One of one accused at a rate of 0.1; the highest of ten.
    assert list(test.p_values) == pytest.approx([0.1, 0.1])
    assert words(test) == []
    assert "With 1 model nothing can be said: it takes 18" in told(True, False, 1, 18)


@pytest.mark.parametrize("alpha", [0.2, 0.1, 0.05, 0.01])
def test_a_bundle_that_accuses_every_second_one_is_noticed_by_so_many(alpha: float) -> None:
    def noticed(num: int) -> float:
        fewest = next(k for k in range(num + 2) if binom.sf(k - 1, num, alpha) < 0.0125)
        return float(binom.sf(fewest - 1, num, 0.5))

    num = models_needed(alpha)
    assert noticed(num) >= 0.95
    assert all(noticed(fewer) < 0.95 for fewer in range(1, num))


def _networks(num: int, num_images: int, seed: int) -> Array:
    """Labels of networks that agree on two images of three."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).integers(0, 4, num_images)
    own = rng.integers(0, 4, (num, num_images))
    return np.where(rng.random((num, num_images)) < 0.6, shared, own)


def test_different_networks_stay_different() -> None:
    found = near_ones(_networks(19, 100, 1), np.arange(19), _networks(20, 100, 2))
    assert found is not None
    assert (found.num_lineages, found.num_networks) == (19, 19)
    assert near_ones_fault(found, 0.05, 19) == ()


def test_one_network_that_was_moved_is_one() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(_networks(1, 100, 1), 19, axis=0)
    moved = rng.random(labels.shape) < 0.03
    labels = np.where(moved, (labels + 1) % 4, labels)
    found = near_ones(labels, np.arange(19), _networks(20, 100, 2))
    assert found is not None
    assert found.num_networks == 1
    (sentence,) = near_ones_fault(found, 0.05, 19)
    assert "count as 1. An alpha of 0.05 needs 19." in sentence


def test_members_of_one_lineage_may_be_alike() -> None:
    labels = np.repeat(_networks(1, 100, 1), 5, axis=0)
    found = near_ones(labels, np.zeros(5, dtype=np.int64), _networks(20, 100, 2))
    assert found is not None
    assert near_ones_fault(found, 0.1, 9) == ()


def test_few_strangers_or_few_contested_images_say_nothing() -> None:
    labels = np.repeat(_networks(1, 100, 1), 5, axis=0)
    assert near_ones(labels, np.arange(5), _networks(4, 100, 2)) is None
    assert near_ones(labels, np.arange(5), np.zeros((20, 100), dtype=np.int64)) is None
