"""What single answers say: evidence query by query, for the scores that are a mean over queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.answer import Answer
from audit.bundle.manifest import BundleContents, innocents
from audit.scores.comparison import asked_queries
from audit.scores.query_scores import (
    MEAN_SCORES,
    answer_values,
    calibration_answers,
    can_score,
    suspect_answers,
)


@dataclass(frozen=True, kw_only=True)
class QueryEvidence:
    """What each answered query says, for a score that is a mean over queries."""

    score: str
    """Which one, out of `audit.scores.query_scores.MEAN_SCORES`."""

    queries: NDArray[np.int64]
    """Indices into the bundle's queries, in the order of asking, ``[Q]``."""
    labels: NDArray[np.int64]
    """The suspect's classes, ``[Q]``."""
    suspect: NDArray[np.float64]
    """What each answer is worth, ``[Q]``; larger speaks for derivation."""
    models: NDArray[np.float64]
    """What the calibration models' answers are worth, ``[R, Q]``."""
    weights: NDArray[np.float64]
    """How far each answer sets the suspect apart from innocents, in either direction, ``[Q]``."""


def query_evidence(
    bundle: BundleContents,
    answers: Mapping[str, Answer],
    score: str,
    *,
    num_first: int | None = None,
) -> QueryEvidence | None:
    """Return what each answer is worth; None without answers, or where the score is no mean.

    Args:
        bundle: What was asked.
        answers: By question id.
        score: One of `audit.scores.query_scores.MEAN_SCORES`; others have no such evidence.
        num_first: See `audit.scores.comparison.compare`.
    """
    # Answers that were on their way when the audit stopped are paid, but no part of its verdict.
    asked = asked_queries(bundle, answers)[:num_first]
    if not len(asked) or score not in MEAN_SCORES or not can_score(bundle, score):
        return None
    given = suspect_answers(bundle, answers, asked)
    models = calibration_answers(bundle, asked, with_probabilities=False)
    suspect = answer_values(bundle, score, given)[0]
    compared = answer_values(bundle, score, models)
    # A log-ratio is a comparison by itself; a match says much where innocents rarely match.
    usual = compared[innocents(bundle)].mean(axis=0) if score == "matching-rate" else 0.0
    return QueryEvidence(
        score=score,
        queries=asked,
        labels=given.labels[0],
        suspect=suspect,
        models=compared,
        weights=np.abs(suspect - usual),
    )


def shown_evidence(
    bundle: BundleContents,
    answers: Mapping[str, Answer],
    scores: Sequence[str],
    *,
    num_first: int | None = None,
) -> QueryEvidence | None:
    """Return what to show of single answers: by the first score that is a mean over queries.

    A score that looks at many answers at once is shown by its matches. Arguments as in
    `query_evidence`.
    """
    names = [*(score for score in scores if score in MEAN_SCORES), "matching-rate"]
    return query_evidence(bundle, answers, names[0], num_first=num_first)
