"""Stopping by paths: exact for any innocent, at whatever query one looks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.verdict.conformal_path import MIN_ACCUSING, MIN_CLEARING, PathTest
from audit.verdict.populations import Populations
from audit.verdict.rule import DecisionRule


def compared(lineages: list[int], num_derived: int, *, has_equals: bool = True) -> Populations:
    """Innocents of these lineages, then derived models of one kind."""
    num = len(lineages)
    return Populations(
        is_innocent=np.arange(num + num_derived) < num,
        lineages=np.array([*lineages, *[-1] * num_derived]),
        strata=np.array(["same data"] * num + ["pruned"] * num_derived),
        has_equals=has_equals,
    )


def followed(
    models: NDArray[np.float64],
    suspect: NDArray[np.float64],
    who: Populations,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
) -> PathTest:
    test = PathTest(models, tilt=0.0, compared=who, rule=DecisionRule(alpha=alpha, beta=beta))
    for value in suspect:
        test.add(float(value))
    return test


def test_the_p_value_is_the_rank_of_the_highest_point_so_far() -> None:
    # Sums from the fifth query on, which is when accusing begins: the innocents' reach 5, 3, -2 at
    # most (the first one's 9 after two queries counts for nothing), the suspect's 4 and then less.
    innocents = np.array(
        [[9, 0, -5, 0, 1, 0], [1, 1, 1, 0, 0, -9], [-1, -1, 0, 0, 0, -1]], dtype=float
    )
    test = PathTest(
        innocents, tilt=0.0, compared=compared([0, 1, 2], 0), rule=DecisionRule(alpha=0.1, beta=0.1)
    )
    told = []
    for value in (2.0, 1.0, 0.0, 0.0, 1.0, -9.0):
        test.add(value)
        told.append(test.p_value())
    assert told == [1.0, 1.0, 1.0, 1.0, 2 / 4, 2 / 4]
    assert test.num_as_high == 1


def test_a_lineage_counts_once_and_by_its_highest_member() -> None:
    rows = np.repeat(np.array([[1.0], [3.0], [2.0], [5.0]]), 6, axis=1)
    suspect = np.full(6, 2.5)
    # Apart: 3 and 5 are as high, 3 of 5 that are ranked. With 3 and 5 of one lineage: 2 of 4.
    assert followed(rows, suspect, compared([0, 1, 2, 3], 0)).p_value() == 3 / 5
    assert followed(rows, suspect, compared([0, 1, 2, 1], 0)).p_value() == 2 / 4


def test_a_tilt_is_taken_off_every_value() -> None:
    # Matches of 10: the innocent 5, the suspect 6. By sums alone the innocent's path ends at 5 and
    # the suspect passes it after eight; with half a match off, 0 is passed at once.
    innocent = np.array([[1.0, 0.0] * 5])
    who, rule = compared([0], 0), DecisionRule(alpha=0.1, beta=0.1)
    test = PathTest(innocent, tilt=0.5, compared=who, rule=rule)
    for value in (1.0, 1.0, 1.0, 0.0, 1.0):
        test.add(value)
    assert (test.p_value(), test.num_as_high) == (1 / 2, 0)


def clear_models(num_queries: int) -> tuple[NDArray[np.float64], Populations]:
    """Nine innocents at -2 a query, nine derived models at +2."""
    rows = np.repeat([-2.0, 2.0], 9)[:, None] * np.ones(num_queries)
    return rows, compared(list(range(9)), 9)


@pytest.mark.parametrize(("value", "place", "num"), [(2.0, "above", 5), (-2.0, "below", 22)])
def test_a_clear_suspect_stops_at_the_first_query_that_may_decide(
    value: float, place: str, num: int
) -> None:
    models, who = clear_models(60)
    stop = followed(models, np.full(60, value), who).stop
    assert stop is not None
    assert (stop.place, stop.num_values) == (place, num)
    assert num in (MIN_ACCUSING, MIN_CLEARING)


def test_between_the_kinds_nothing_stops_and_both_p_values_are_small() -> None:
    # At 0 a query: above every innocent from the start, below every derived model; half-way to the
    # derived models lies 0, and half-way is not beyond.
    models, who = clear_models(60)
    test = followed(models, np.zeros(60), who)
    assert test.stop is None
    assert (test.p_value(), test.p_derived) == (0.1, 0.1)


def test_against_weak_references_the_margin_is_that_of_all_kinds_together() -> None:
    # Derived models: three kinds at 1, 6 and 7 a query. Half-way from -2 is -0.5 to the nearest
    # kind, 2 to the median of all: a suspect at 1.5 is derived only where an innocent is as good.
    rows = np.array([-2.0] * 9 + [1.0] * 3 + [6.0] * 3 + [7.0] * 3)[:, None] * np.ones(30)
    for has_equals, is_derived in ((True, True), (False, False)):
        who = Populations(
            is_innocent=np.arange(18) < 9,
            lineages=np.array([*range(9), *[-1] * 9]),
            strata=np.array(["same data"] * 9 + ["a"] * 3 + ["b"] * 3 + ["c"] * 3),
            has_equals=has_equals,
        )
        stop = followed(rows, np.full(30, 1.5), who).stop
        assert (stop is not None and stop.place == "above") is is_derived


def test_whoever_was_once_above_the_innocents_is_not_cleared() -> None:
    models, who = clear_models(100)
    # Ten answers like a copy's, cut to half their worth so that the margin holds it back, then an
    # innocent's: its highest point stays above every innocent's.
    suspect = np.array([0.0] * 10 + [-2.0] * 90)
    test = followed(models, suspect, who)
    assert test.p_value() == 0.1
    assert test.stop is None


def test_refusals_are_not_cleared() -> None:
    models, who = clear_models(60)
    test = PathTest(models, tilt=0.0, compared=who, rule=DecisionRule(alpha=0.1, beta=0.1))
    for index in range(60):
        test.add(-2.0, is_refused=index < 4)
    # 4 of 60 are 6.7 %; up to the 60th the share never comes down to a twentieth
    assert test.stop is None


def test_nothing_is_taken_after_a_stop() -> None:
    models, who = clear_models(60)
    test = followed(models, np.full(60, 2.0), who)
    assert test.num_values == 5
    assert test.p_value() == 0.1


def drawn(
    rng: np.random.Generator, sizes: list[int], num_queries: int
) -> tuple[NDArray[np.float64], list[int]]:
    """Innocents in lineages: a lineage has a level of its own, its members differ little."""
    rows, lineages = [], []
    for number, size in enumerate(sizes):
        level = rng.normal(-0.2, 0.4)
        common = rng.normal(level, 1.0, num_queries)
        for _ in range(size):
            rows.append(common + rng.normal(0, 0.2, num_queries))
            lineages.append(number)
    return np.array(rows), lineages


def test_innocents_are_accused_no_more_often_than_stated_however_lineages_differ_in_size() -> None:
    # Nineteen lineages, sizes 1 to 6; the suspect is one model of a twentieth lineage. A level that
    # differs from lineage to lineage is what makes files of one lineage no evidence.
    rng, alpha, num_runs, num_queries = np.random.default_rng(7), 0.05, 10_000, 25
    sizes = [1, 2, 3, 4, 5, 6, *[1] * 13]
    accused = 0
    for _ in range(num_runs):
        rows, lineages = drawn(rng, [*sizes, 1], num_queries)
        accused += _is_accused(rows[:-1], lineages[:-1], rows[-1], alpha)
    # Binomial: at most the rate, but for three standard deviations of 10,000 draws.
    assert accused / num_runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / num_runs)


def test_files_counted_as_innocents_would_be_wrong_more_often_than_stated() -> None:
    # The control of the test above: the same draws with every file as its own lineage.
    rng, alpha, num_runs, num_queries = np.random.default_rng(8), 0.05, 1_000, 25
    accused = 0
    for _ in range(num_runs):
        rows, _ = drawn(rng, [20, 20, 20, 1], num_queries)
        accused += _is_accused(rows[:-1], list(range(60)), rows[-1], alpha)
    assert accused / num_runs > alpha + 3 * math.sqrt(alpha * (1 - alpha) / num_runs)


def _is_accused(
    rows: NDArray[np.float64], lineages: list[int], suspect: NDArray[np.float64], alpha: float
) -> bool:
    test = PathTest(
        rows, tilt=0.0, compared=compared(lineages, 0), rule=DecisionRule(alpha=alpha, beta=0.1)
    )
    for value in suspect:
        test.add(float(value))
    return test.stop is not None and test.stop.place == "above"
