"""Early and late answers: the thirds, the thresholds that models set on them, the exact test."""

from math import comb

import numpy as np
import pytest

from audit.verdict.parts import AskedValues, change_p_value, compare_parts, is_agreed, num_early
from audit.verdict.populations import Populations
from audit.verdict.rule import DecisionRule

RULE = DecisionRule(alpha=0.1, beta=0.1)
CLEAR = Populations(
    is_innocent=np.array([True] * 9 + [False] * 9),
    lineages=np.array([*range(9), *[-1] * 9]),
    strata=np.array(["kind"] * 18),
    has_equals=True,
)


@pytest.mark.parametrize(("num", "early"), [(3, 2), (20, 13), (22, 14), (40, 26), (100, 66)])
def test_two_thirds_are_early_and_the_rest_is_late(num: int, early: int) -> None:
    assert num_early(num) == early


@pytest.mark.parametrize(
    ("early", "late", "ways"),
    [
        # 4 of 8 late answers speak for a copy and none of 14 early ones: C(8, 4) of C(22, 4) ways
        ([False] * 14, [True] * 4 + [False] * 4, comb(8, 4) / comb(22, 4)),
        # all of 3 early ones and none of 6 late ones: 1 of C(9, 3)
        ([True] * 3, [False] * 6, 1 / comb(9, 3)),
        ([True] * 3, [True] * 6, 1.0),
    ],
)
def test_the_p_value_counts_the_ways_to_spread_answers_over_time(
    early: list[bool], late: list[bool], ways: float
) -> None:
    assert change_p_value(np.array(early + late), len(early)) == pytest.approx(min(1, 2 * ways))


def test_answers_that_depend_on_their_images_alone_change_in_a_hundredth_at_most() -> None:
    generator = np.random.default_rng(0)
    speaks = np.arange(100) < 30
    found = [change_p_value(generator.permutation(speaks), num_early(100)) for _ in range(2000)]
    # Binomial(2000, 0.01): 20 expected, standard deviation 4.4
    assert sum(value <= 0.01 for value in found) <= 20 + 3 * 4.4


def parts_of(suspect: list[float]) -> bool:
    models = np.repeat([-2.0, 2.0], 9)[:, None] * np.ones(len(suspect))
    values = AskedValues(suspect=np.array(suspect), models=models, tilt=0.0)
    return is_agreed(compare_parts(values, CLEAR, RULE))


def test_both_parts_must_look_innocent() -> None:
    low, high = -2.0, 2.0
    assert parts_of([low] * 24)
    assert not parts_of([low] * 16 + [high] + [low] * 7)
    assert not parts_of([high] + [low] * 23)


def test_thresholds_of_a_part_are_set_on_the_same_queries() -> None:
    # Innocents answer the late queries as the suspect does, and otherwise than the early ones.
    models = np.repeat([-2.0, 2.0], 9)[:, None] * np.ones(24)
    models[:9, 16:] = -1.0
    values = AskedValues(suspect=np.array([-2.0] * 16 + [-1.0] * 8), models=models, tilt=0.0)
    found = compare_parts(values, CLEAR, RULE)
    assert (found.early, found.late) == (-2.0, -1.0)
    assert found.early_below == pytest.approx(-2.0)
    assert found.late_below == pytest.approx(-1.0)
    assert is_agreed(found)
