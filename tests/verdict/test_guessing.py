"""Near chance: by an exact test, for two classes as for a hundred."""

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.verdict.guessing import least_share, may_be_guessing, near_chance


def right(num_right: int, num: int) -> NDArray[np.bool_]:
    return np.arange(num) < num_right


@pytest.mark.parametrize(
    ("num_right", "is_near"),
    # P(X >= 62) = 0.0105 and P(X >= 63) = 0.0060 for 100 throws of a coin.
    [(11, True), (50, True), (62, True), (63, False), (89, False), (100, False)],
)
def test_of_two_classes_a_coin_is_the_guesser(num_right: int, is_near: bool) -> None:
    assert near_chance(right(num_right, 100), np.arange(100) % 2) is is_near


@pytest.mark.parametrize(
    ("num_right", "is_near"),
    # Twice the guesser's 20 of 200 is asked, though 31 would be no luck (P = 0.009).
    [(20, True), (31, True), (39, True), (40, False)],
)
def test_of_many_classes_twice_a_guess_is_wanted(num_right: int, is_near: bool) -> None:
    assert near_chance(right(num_right, 200), np.arange(200) % 10) is is_near


@pytest.mark.parametrize(("num_right", "is_near"), [(90, True), (93, True), (98, False)])
def test_the_most_frequent_class_is_a_guess_too(num_right: int, is_near: bool) -> None:
    labels = np.array([0] * 90 + [1] * 10)
    # P(X >= 93) = 0.21 and P(X >= 98) = 0.002 at a rate of 0.9.
    assert near_chance(right(num_right, 100), labels) is is_near


def test_ten_images_of_three_classes_need_more_than_luck() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    # At a rate of 0.4 seven of ten come by luck in 5 % of cases, nine in 0.2 %.
    assert near_chance(right(7, 10), labels)
    assert not near_chance(right(9, 10), labels)


@pytest.mark.parametrize(
    "labels",
    [np.arange(100) % 2, np.arange(84) % 3, np.array([0] * 9 + [1]), np.arange(200) % 100],
    ids=["two", "three", "skewed", "hundred"],
)
def test_the_least_share_is_where_luck_ends(labels: NDArray[np.int64]) -> None:
    num = len(labels)
    least = round(least_share(labels) * num)
    assert may_be_guessing(right(least - 1, num), labels)
    assert not may_be_guessing(right(least, num), labels) or least == num


def test_a_weak_innocent_is_no_guesser_though_it_were_no_source() -> None:
    labels = np.arange(96) % 4
    assert near_chance(right(40, 96), labels)
    assert not may_be_guessing(right(40, 96), labels)
