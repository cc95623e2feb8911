"""Scores of the literature's fingerprints, by hand."""

import numpy as np
import pytest

from adapters.suspect import REFUSED
from audit.scores.likelihood_ratio import mean_evidence
from audit.scores.matching_rate import match_table
from audit.scores.sample_correlation import (
    GRID,
    label_correlation,
    label_similarity,
    probability_similarity,
)
from audit.scores.trajectory_rate import mutation_rates, trajectory_rate

SOURCE = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("answers", "rate"),
    [
        ([0, 1, 2, 0], 1.0),
        ([0, 1, 1, 1], 0.5),
        ([1, 2, 0, 1], 0.0),
        # a refusal is no match, and the mean stays one over four queries
        ([0, 1, 2, REFUSED], 0.75),
        ([REFUSED] * 4, 0.0),
    ],
)
def test_matching_rate_is_the_share_of_the_sources_own_answers(
    answers: list[int], rate: float
) -> None:
    assert mean_evidence(match_table(SOURCE, 3), np.array(answers)) == rate


def test_a_trajectory_is_followed_when_less_than_half_of_its_points_mutate() -> None:
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    source = np.array([0, 0, 1, 1, 0, 0, 1, 0, 1])
    # trajectory 0: 2 of 4 differ (not below one half); 1: 1 of 3; 2: none
    answers = np.array([0, 1, 0, 1, 0, 1, 1, 0, 1])
    assert mutation_rates(answers, source, groups) == pytest.approx([1 / 2, 1 / 3, 0])
    assert trajectory_rate(answers, source, groups) == pytest.approx(2 / 3)


def test_four_mutations_of_nine_leave_a_trajectory_followed_and_five_do_not() -> None:
    groups, source = np.zeros(9, np.int64), np.zeros(9, np.int64)
    answers = np.array([[1] * 4 + [0] * 5, [1] * 5 + [0] * 4])
    assert trajectory_rate(answers, source, groups).tolist() == [1.0, 0.0]


def test_a_trajectory_of_one_point_mutates_with_it() -> None:
    groups, source = np.array([4, 9]), np.array([0, 0])
    assert mutation_rates(np.array([0, 1]), source, groups).tolist() == [0.0, 1.0]
    assert trajectory_rate(np.array([0, 1]), source, groups) == 0.5


def test_a_refused_point_of_a_trajectory_mutates() -> None:
    groups, source = np.array([0, 0, 0]), np.array([0, 1, 1])
    assert trajectory_rate(np.array([0, 1, REFUSED]), source, groups) == 1.0  # 1 of 3
    assert trajectory_rate(np.array([0, REFUSED, REFUSED]), source, groups) == 0.0  # 2 of 3


def test_trajectories_are_counted_for_many_models_in_any_order_of_queries() -> None:
    groups, source = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
    answers = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    # the second model follows trajectory 1 (queries 0 and 2) only
    assert trajectory_rate(answers, source, groups).tolist() == [1.0, 0.5, 0.0]


def test_softened_labels_correlate_as_their_cosine_says() -> None:
    # softmax of (1, 0.01, 0.01) is proportional to (e^0.99, 1, 1)
    rows = np.exp([[1, 0.01, 0.01], [0.01, 1, 0.01]])
    cosine = rows[0] @ rows[1] / (np.linalg.norm(rows[0]) * np.linalg.norm(rows[1]))
    assert label_correlation(3) == pytest.approx(float(cosine), abs=1e-15)


def test_sample_correlation_from_labels_counts_pairs_that_one_model_tells_apart() -> None:
    # Source 0 1 2 0: of the six pairs it puts only (0, 3) together. Answers 0 0 2 0 put (0, 1),
    # (0, 3) and (1, 3) together: two pairs differ, four of the sixteen ordered ones.
    (score,) = label_similarity(np.array([[0, 0, 2, 0]]), SOURCE, 3)
    assert score == pytest.approx(1 - (1 - label_correlation(3)) * 4 / 16)


def test_other_names_for_the_same_grouping_score_as_the_source() -> None:
    scores = label_similarity(np.array([[0, 1, 2, 0], [2, 0, 1, 2]]), SOURCE, 3)
    assert scores.tolist() == [1.0, 1.0]


def test_refusing_scores_below_every_answer_that_could_be_given() -> None:
    answers = np.array([[0, 1, 2, c] for c in (0, 1, 2, REFUSED)])
    *given, refused = label_similarity(answers, SOURCE, 3)
    assert refused < min(given)
    # the row and the column of the refused query: seven of the sixteen ordered pairs
    assert refused == pytest.approx(1 - (1 - label_correlation(3)) * 7 / 16)


def test_one_refused_query_is_all_that_there_is_to_differ() -> None:
    # The only cosine is that of the query with itself, and a refusal differs in it.
    (score,) = label_similarity(np.array([[REFUSED]]), np.array([0]), 3)
    assert score == pytest.approx(label_correlation(3))
    (score,) = probability_similarity(np.full((1, 1, 2), np.nan), np.log([[0.8, 0.2]]))
    assert score == 0.0


def test_sample_correlation_from_probabilities_compares_cosines() -> None:
    source = np.log([[0.5, 0.5], [0.5, 0.5]])  # cosine 1
    suspect = np.log([[[0.8, 0.2], [0.2, 0.8]]])  # cosine 0.32 / 0.68
    # two of the four entries differ by 1 - 0.32 / 0.68
    (score,) = probability_similarity(suspect, source)
    assert score == pytest.approx(1 - (1 - 0.32 / 0.68) * 2 / 4, abs=GRID)


def test_cosines_lie_on_the_grid_of_every_record() -> None:
    # 0.42 / 0.58 * 2^16 = 47457.1, in two of the four entries; the source's cosines are 1.
    suspect = np.log([[[0.7, 0.3], [0.3, 0.7]]])
    (score,) = probability_similarity(suspect, np.log([[0.5, 0.5], [0.5, 0.5]]))
    assert score == 1 - (1 - 47457 / 2**16) * 2 / 4


def test_a_source_correlates_with_itself_and_with_no_temperature_of_its_own_labels() -> None:
    rng = np.random.default_rng(0)
    source = np.log(rng.dirichlet(np.ones(4), size=6))
    warmer = source / 2 - np.log(np.exp(source / 2).sum(axis=1, keepdims=True))
    itself, other = probability_similarity(np.array([source, warmer]), source)
    assert itself == 1.0
    assert 0 < other < 1


def test_a_refused_query_is_as_far_from_the_source_as_a_cosine_can_be() -> None:
    source = np.log([[0.8, 0.2], [0.2, 0.8]])  # cosine 0.32 / 0.68 = 0.4706
    suspect = source[None].copy()
    suspect[0, 1] = np.nan
    # the two mixed entries are 1 - 0.4706 off, the diagonal one of the refused query 1
    (score,) = probability_similarity(suspect, source)
    assert score == pytest.approx(1 - (2 * (1 - 0.32 / 0.68) + 1) / 4, abs=GRID)


def test_correlations_of_a_machine_that_rounds_otherwise_give_the_same_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    source, suspect = np.log(rng.dirichlet(np.ones(5), size=(2, 40)))
    expected = probability_similarity(suspect[None], source)
    exponential = np.exp
    for direction in (-np.inf, np.inf):
        monkeypatch.setattr(np, "exp", lambda x, to=direction: np.nextafter(exponential(x), to))
        assert (probability_similarity(suspect[None], source) == expected).all()
