"""The arena's figures against calculations by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.arena.metrics import (
    aruc,
    auc,
    bootstrap,
    equal_error_rate,
    true_positive_rate,
)


def scores(*values: float) -> NDArray[np.float64]:
    return np.array(values)


def test_auc_counts_pairs_and_half_the_ties() -> None:
    # Pairs: 0.9 beats both, 0.5 beats 0.2 and ties 0.5, 0.1 beats none: 2 + 1.5 + 0 of 6.
    assert auc(scores(0.9, 0.5, 0.1), scores(0.5, 0.2)) == pytest.approx(3.5 / 6)


def test_auc_of_swapped_populations_is_the_complement() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 30) / 4, rng.integers(0, 5, 20) / 4
    assert auc(first, second) + auc(second, first) == pytest.approx(1.0)


def test_auc_is_the_same_under_any_increasing_map() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 40), rng.normal(0, 1, 40)
    assert auc(first, second) == auc(np.exp(3 * first), np.exp(3 * second))


def test_aruc_rewards_a_wide_range_of_safe_thresholds() -> None:
    # Between 0.2 and 0.8 every threshold is right for both; below it R = 1, U = 0 and above R = 0.
    assert aruc(scores(0.8, 0.8), scores(0.2, 0.2)) == pytest.approx(0.6)
    # A narrow range has a perfect AUC and a poor ARUC.
    assert auc(scores(0.51), scores(0.5)) == 1.0
    assert aruc(scores(0.51), scores(0.5)) == pytest.approx(0.01)


def test_aruc_between_overlapping_steps() -> None:
    # t in (0, 0.4]: U = 0; (0.4, 0.6]: R = 1, U = 1/2; (0.6, 0.8]: R = 1/2, U = 1/2; above: R = 1/2
    # up to 1.0 where the second derived model lies, U = 1.
    found = aruc(scores(0.6, 1.0), scores(0.4, 0.8))
    assert found == pytest.approx(0.2 * 0.5 + 0.2 * 0.5 + 0.2 * 0.5)


def test_true_positives_at_a_rate_that_the_innocents_cannot_resolve() -> None:
    derived, innocent = scores(1, 2, 3, 4), scores(*range(10))
    # 1 % of 10 innocents is none: the threshold is their largest score.
    assert true_positive_rate(derived, innocent, 0.01) == 0.0
    # 70 % lets seven pass: the threshold is 2, and two of four lie above.
    assert true_positive_rate(derived, innocent, 0.70) == 0.5


def test_equal_error_rate() -> None:
    assert equal_error_rate(scores(3, 4), scores(1, 2)) == 0.0
    # Any threshold leaves one of four wrong on each side at best.
    assert equal_error_rate(scores(1, 3, 4, 5), scores(0, 0.5, 0.7, 2)) == 0.25


def test_the_interval_covers_the_spread_between_kinds() -> None:
    # Two attacks that are always found and two that never are: any share of them may be drawn.
    derived = {
        name: scores(*[value] * 5) for name, value in zip("abcd", (9, 9, -9, -9), strict=True)
    }
    innocent = {"x": scores(*[0.0] * 10), "y": scores(*[0.1] * 10)}
    found = bootstrap(auc, derived, innocent)
    assert found.value == 0.5
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_population_whose_labels_are_shuffled_gives_one_half_within_its_interval() -> None:
    rng = np.random.default_rng(3)
    names = [f"kind-{number}" for number in range(24)]
    values = {name: rng.normal(rng.normal(), 1, 4) for name in names}
    mixed = rng.permutation(names)
    found = bootstrap(
        auc,
        {name: values[name] for name in mixed[:12]},
        {name: values[name] for name in mixed[12:]},
    )
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.7
