"""Scores that are computed from the answers to a bundle's queries, for a suspect or many models.

Five scores ask the same queries and differ in what they make of the answers. Two of them are means
over the queries of a value that depends on one answer alone (`MEAN_SCORES`): these can be followed
query by query, and an audit may stop early on them. Two use all that a suspect tells, labels, top-k
or probabilities; the calibration models are then compared by no more than that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.scores.likelihood_ratio import answer_evidence, evidence_table, mean_evidence
from audit.scores.matching_rate import match_table
from audit.scores.rank_correlation import (
    nearest_relatives,
    positions_of,
    told_boundaries,
    told_positions,
)
from audit.scores.sample_correlation import label_similarity, probability_similarity
from audit.scores.trajectory_rate import trajectory_rate

MEAN_SCORES = ("likelihood-ratio", "matching-rate")
"""Means of one value per query."""
QUERY_SCORES = (*MEAN_SCORES, "trajectory-rate", "sample-correlation", "rank-correlation")
"""All scores that ask the bundle's queries."""


@dataclass(frozen=True, kw_only=True)
class QueryAnswers:
    """What M models answer to some of a bundle's queries."""

    queries: NDArray[np.int64]
    """Indices into the bundle's queries, ``[Q]``."""
    labels: NDArray[np.int64]
    """``[M, Q]``, `REFUSED` where there is none."""
    log_probabilities: NDArray[np.float64] | None = None
    """``[M, Q, K]``, NaN where a query was refused; None where there are only labels."""
    positions: NDArray[np.int64] | None = None
    """Classes that stand before each class in a model's ranking, ``[M, Q, K]``; None where the
    bundle has no rankings."""
    boundaries: NDArray[np.bool_] | None = None
    """Places of a ranking that the suspect tells apart, ``[Q, K]``."""
    access: str = "labels"
    """What rankings rest on: ``labels``, ``top-k`` or ``probabilities``."""


def query_table(bundle: BundleContents, score: str) -> NDArray[np.float64]:
    """Return what each answer to each query is worth, for one of `MEAN_SCORES`.

    Args:
        bundle: Its queries.
        score: ``likelihood-ratio`` (nats) or ``matching-rate`` (1 or 0).

    Returns:
        ``[Q, K]``; larger speaks for derivation. No rows where the bundle lacks what it takes.
    """
    arrays, manifest = bundle.arrays, bundle.manifest
    if score == "matching-rate":
        return match_table(arrays.source_query_labels, manifest.task.num_classes)
    assert score == "likelihood-ratio", "no other score is a mean over queries"
    return evidence_table(
        arrays.derived_probabilities, arrays.innocent_probabilities, manifest.epsilon
    )


def can_score(bundle: BundleContents, score: str) -> bool:
    """Return whether a bundle has what one of `QUERY_SCORES` takes."""
    arrays = bundle.arrays
    if score == "rank-correlation":
        return arrays.selection_rankings.size > 0
    needed = arrays.derived_probabilities if score == "likelihood-ratio" else arrays.queries
    return len(needed) > 0


def deciding_query_score(bundle: BundleContents) -> str | None:
    """Return the score that tells a bundle's models apart by its queries; None without any."""
    default = bundle.manifest.default_score
    candidates = (default,) if default in QUERY_SCORES else MEAN_SCORES
    return next((score for score in candidates if can_score(bundle, score)), None)


def query_scores(bundle: BundleContents, score: str, answers: QueryAnswers) -> NDArray[np.float64]:
    """Return the score of each model on the queries that were answered.

    Args:
        bundle: Whose queries.
        score: One of `QUERY_SCORES`.
        answers: By models ``[M]``.

    Returns:
        ``[M]``; larger speaks for derivation.

    Raises:
        AuditError: An unknown score.
    """
    arrays, queries = bundle.arrays, answers.queries
    source_labels = arrays.source_query_labels[queries]
    if score in MEAN_SCORES:
        return mean_evidence(query_table(bundle, score)[queries], answers.labels)
    if score == "trajectory-rate":
        return trajectory_rate(answers.labels, source_labels, arrays.query_groups[queries])
    if score == "rank-correlation":
        return _rank_correlations(bundle, answers)
    if score != "sample-correlation":
        raise AuditError(f"score: expected one of {', '.join(QUERY_SCORES)}, got {score!r}")
    if answers.log_probabilities is not None:
        return probability_similarity(
            answers.log_probabilities, arrays.source_query_log_probabilities[queries]
        )
    return label_similarity(answers.labels, source_labels, bundle.manifest.task.num_classes)


def suspect_answers(
    bundle: BundleContents, answers: Mapping[str, Answer], queries: NDArray[np.int64]
) -> QueryAnswers:
    """Return one suspect's answers to some queries, ``[1, Q]``.

    Probabilities are taken where the bundle has the source's to compare with and the suspect gave
    all of them with every class that it named; rankings are made of whatever it told.

    Args:
        bundle: Whose queries.
        answers: By question id; a missing one counts as a refusal.
        queries: Indices, ``[Q]``.
    """
    given = [answers.get(f"query/{index}") for index in queries]
    labels = np.array([REFUSED if one is None else one.label for one in given], dtype=np.int64)
    # NaN marks a class of which nothing is told; a label alone tells of none.
    num_classes = bundle.manifest.task.num_classes
    nothing = np.full(num_classes, np.nan)
    rows = np.array(
        [
            nothing
            if one is None or one.label == REFUSED or one.log_probabilities is None
            else one.log_probabilities
            for one in given
        ]
    ).reshape(len(queries), num_classes)
    # Refused queries say nothing about how much the suspect tells when it does answer.
    named = rows[labels != REFUSED]
    is_whole = len(named) > 0 and not np.isnan(named).any()
    with_rankings = can_score(bundle, "rank-correlation")
    positions = told_positions(labels, rows) if with_rankings and len(queries) else None
    return QueryAnswers(
        queries=queries,
        labels=labels[None],
        log_probabilities=rows[None]
        if is_whole and len(bundle.arrays.source_query_log_probabilities)
        else None,
        positions=None if positions is None else positions[None],
        boundaries=None
        if positions is None
        else told_boundaries(positions, bundle.arrays.selection_rankings.shape[-1]),
        access="probabilities" if is_whole else "labels" if np.isnan(named).all() else "top-k",
    )


def calibration_answers(
    bundle: BundleContents,
    queries: NDArray[np.int64],
    *,
    with_probabilities: bool,
    boundaries: NDArray[np.bool_] | None = None,
) -> QueryAnswers:
    """Return what the calibration models answer to some queries, ``[R, Q]``.

    Args:
        bundle: Whose queries.
        queries: Indices, ``[Q]``.
        with_probabilities: Whether to compare by probabilities where the bundle has them.
        boundaries: What the suspect tells apart in its rankings, ``[Q, K]``; by default all.
    """
    arrays, num_classes = bundle.arrays, bundle.manifest.task.num_classes
    return QueryAnswers(
        queries=queries,
        labels=arrays.model_query_labels[:, queries],
        log_probabilities=arrays.model_query_log_probabilities[:, queries]
        if with_probabilities
        else None,
        positions=positions_of(arrays.model_rankings[:, queries], num_classes)
        if can_score(bundle, "rank-correlation")
        else None,
        boundaries=boundaries,
    )


def answer_values(bundle: BundleContents, score: str, answers: QueryAnswers) -> NDArray[np.float64]:
    """Return what each answer is worth, ``[M, Q]``, for one of `MEAN_SCORES`."""
    return answer_evidence(query_table(bundle, score)[answers.queries], answers.labels)


def _rank_correlations(bundle: BundleContents, answers: QueryAnswers) -> NDArray[np.float64]:
    arrays, num_classes = bundle.arrays, bundle.manifest.task.num_classes
    if answers.positions is None:
        return np.zeros(len(answers.labels))
    roles = np.array([model.role for model in bundle.manifest.selection_models])
    pools = positions_of(arrays.selection_rankings[:, answers.queries], num_classes)
    boundaries = answers.boundaries
    if boundaries is None:
        # Without a suspect to be as coarse as, all that the bundle keeps is compared: D places.
        boundaries = np.zeros(answers.positions.shape[1:], dtype=bool)
        boundaries[:, 1 : arrays.selection_rankings.shape[-1] + 1] = True
    scores = []
    for labels, positions in zip(answers.labels, answers.positions, strict=True):
        derived, innocent = nearest_relatives(
            positions,
            boundaries,
            labels == REFUSED,
            pools[roles == "derived"],
            pools[roles == "innocent"],
        )
        scores.append(derived - innocent)
    return np.array(scores)
