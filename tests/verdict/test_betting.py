"""Control images: the bet, its error, and how many it takes against Wald's test."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.verdict.betting import BETS, STAKES, MeanTest, SequentialTest


def e_values(values: list[float], mean: float, lowest: float = 0.0) -> list[float]:
    test = MeanTest(mean, lowest=lowest, num_values=len(values))
    found = []
    for value in values:
        test.add(value)
        found.append(test.e_value)
    return found


def test_a_bet_follows_its_formula() -> None:
    # Four values, null mean 1/2. First m_1 = 1/2, so that 1 gains (1 - 1/2) / (1/2) = 1 per share.
    # Then m_2 = (4 * 1/2 - 1) / 3 = 1/3: 0 gains (0 - 1/3) / (1/3) = -1 per share.
    begun = list(zip(STAKES, BETS, strict=True))
    first = sum(stake * (1 + bet) for stake, bet in begun) / sum(STAKES)
    second = sum(stake * (1 + bet) * (1 - bet) for stake, bet in begun) / sum(STAKES)
    assert e_values([1.0, 0.0, 0.0, 0.0], 0.5)[:2] == pytest.approx([first, second])


def test_shares_and_stakes_are_those_that_every_record_was_made_with() -> None:
    # The first value gains 1 per share: 1 * 1.2 + 1 * 1.6 + 4 * 1.99 of the 6 that it began with.
    assert e_values([1.0, 0.0, 0.0, 0.0], 0.5)[0] == pytest.approx(10.76 / 6, rel=1e-15)


def test_a_null_just_above_the_lowest_value_can_still_be_bet_on() -> None:
    # A mean of 1/2000 and the lowest value: every share is lost, 0.8 + 0.4 + 4 * 0.01 of 6 remain.
    assert e_values([0.0] * 10, 0.0005)[0] == pytest.approx(1.24 / 6)


def test_over_all_orders_a_true_null_gains_nothing() -> None:
    # The mean is exactly the null's: the expected wealth is 1 after every value (a martingale).
    values = [0.0, 0.1, 0.5, 0.9, 1.0, 0.2]
    orders = np.array(
        [e_values(list(order), float(np.mean(values))) for order in itertools.permutations(values)]
    )
    assert orders.mean(axis=0) == pytest.approx(np.ones(6), abs=1e-9)


def test_a_null_that_the_values_rule_out_is_impossible() -> None:
    # Three ones of four already exceed a mean of 1/2 in all: whatever comes, the null is false.
    assert e_values([1.0, 1.0, 1.0, 0.0], 0.5)[2] == math.inf
    test = SequentialTest(0.5, num_values=4, error=1e-9)
    for value in (1.0, 1.0, 1.0):
        test.add(value)
    assert test.stop is not None
    assert test.stop.is_above


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_mean_at_the_bound_is_called_above_no_more_often_than_stated(share: float) -> None:
    # The worst null: a mean exactly at the threshold, in answers that differ as much as they can.
    rng, num_runs, error = np.random.default_rng(0), 10_000, 0.05
    values = np.where(np.arange(60) < share * 60, 2.6, -2.2)
    crossed = 0
    for _ in range(num_runs):
        crossed += max(e_values(rng.permutation(values).tolist(), values.mean(), -3.0)) >= 1 / error
    assert crossed / num_runs <= error + 4 * math.sqrt(error * (1 - error) / num_runs)


def queries_taken(rate: float, *, null: float, error: float, runs: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(1)
    taken = []
    for _ in range(runs):
        test = SequentialTest(null, num_values=100_000, error=error)
        while test.stop is None:
            test.add(float(rng.random() < rate))
        assert test.stop.is_above
        taken.append(test.stop.num_values)
    return np.array(taken)


def wald_queries(rate: float, *, null: float, error: float, runs: int) -> NDArray[np.int64]:
    """Wald (1945) with both rates known, which no audit has."""
    rng = np.random.default_rng(2)
    gain, loss = math.log(rate / null), math.log((1 - rate) / (1 - null))
    bound = math.log((1 - error) / error)
    taken = []
    for _ in range(runs):
        ratio, num = 0.0, 0
        while abs(ratio) < bound:
            ratio += gain if rng.random() < rate else loss
            num += 1
        taken.append(num)
    return np.array(taken)


@pytest.mark.parametrize("rate", [0.95, 0.8])
def test_not_knowing_the_suspect_costs_less_than_twice_walds_queries(rate: float) -> None:
    ours = queries_taken(rate, null=0.4, error=0.01, runs=300)
    wald = wald_queries(rate, null=0.4, error=0.01, runs=300)
    for percentile in (50, 95):
        assert np.percentile(ours, percentile) <= 2 * np.percentile(wald, percentile)


def test_nothing_is_taken_after_a_stop() -> None:
    test = SequentialTest(0.5, num_values=100, error=0.1)
    for _ in range(30):
        test.add(1.0)
    stop = test.stop
    for _ in range(70):
        test.add(0.0)
    assert test.stop is stop


@pytest.mark.parametrize(("value", "is_above"), [(1.0, True), (0.0, False)])
def test_either_side_stops(value: float, *, is_above: bool) -> None:
    test = SequentialTest(0.5, num_values=100, error=0.1)
    for _ in range(100):
        test.add(value, is_refused=not is_above)
    assert test.stop is not None
    assert test.stop.is_above is is_above
