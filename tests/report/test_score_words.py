"""Whatever an audit can compute, a report has words for."""

import pytest

from audit.asking.plan import SCORES
from audit.report.score_words import SCORE_WORDS
from audit.scores.query_scores import MEAN_SCORES, QUERY_SCORES


def test_every_score_of_an_audit_has_words_and_nothing_else_has() -> None:
    assert set(SCORE_WORDS) == set(SCORES)


@pytest.mark.parametrize("score", QUERY_SCORES)
def test_a_score_of_queries_says_what_it_makes_of_the_answers(score: str) -> None:
    assert SCORE_WORDS[score].weighed.endswith(".")


@pytest.mark.parametrize("score", QUERY_SCORES)
def test_exactly_the_means_of_single_answers_settle(score: str) -> None:
    assert bool(SCORE_WORDS[score].settling) == (score in MEAN_SCORES)
