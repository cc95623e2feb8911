"""What the calibration models score on the questions that a suspect answered.

The thresholds and p-values of `audit.verdict.judge` come from these numbers; a report shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.answer import Answer
from audit.bundle.manifest import BundleContents, ModelRecord, innocents
from audit.scores.mfue import cross_entropy, estimated_loss, matching_rate, probe_hits
from audit.scores.query_scores import (
    MEAN_SCORES,
    QUERY_SCORES,
    answer_values,
    calibration_answers,
    can_score,
    query_scores,
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


def reference_scores(
    bundle: BundleContents, answers: Mapping[str, Answer], score: str
) -> tuple[tuple[ModelRecord, float], ...]:
    """Return the score of each calibration model on the questions that were answered.

    Args:
        bundle: What was asked.
        answers: The suspect's, by question.
        score: One of `audit.asking.plan.SCORES`.

    Returns:
        Models and scores, empty if nothing of this score was answered.
    """
    arrays, tau = bundle.arrays, bundle.manifest.tau
    if score in QUERY_SCORES:
        asked = answered(answers, "query", len(arrays.queries))
        given = suspect_answers(bundle, answers, asked)
        has_probabilities = given.log_probabilities is not None
        compared = calibration_answers(
            bundle, asked, with_probabilities=has_probabilities, boundaries=given.boundaries
        )
        values = query_scores(bundle, score, compared)
    elif score == "mfue-w":
        asked = answered(answers, "trigger", len(arrays.triggers))
        labels = arrays.trigger_labels[asked]
        source = cross_entropy(arrays.source_trigger_log_probabilities[asked], labels)
        values = matching_rate(arrays.model_trigger_losses[:, asked], source, tau)
    else:
        asked, values = _probe_scores(bundle, answers)
    if not len(asked):
        return ()
    models = bundle.manifest.calibration_models
    return tuple(zip(models, map(float, values), strict=True))


def query_evidence(
    bundle: BundleContents, answers: Mapping[str, Answer], score: str
) -> QueryEvidence | None:
    """Return what each answer is worth; None without answers, or where the score is no mean."""
    asked = answered(answers, "query", len(bundle.arrays.queries))
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
    bundle: BundleContents, answers: Mapping[str, Answer], scores: Sequence[str]
) -> QueryEvidence | None:
    """Return what to show of single answers: by the first score that is a mean over queries.

    A score that looks at many answers at once is shown by its matches.
    """
    names = [*(score for score in scores if score in MEAN_SCORES), "matching-rate"]
    return query_evidence(bundle, answers, names[0])


def answered(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    """Return the indices of a kind's questions that have an answer."""
    return np.flatnonzero([f"{kind}/{index}" in answers for index in range(num)])


def _probe_scores(
    bundle: BundleContents, answers: Mapping[str, Answer]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    arrays, manifest = bundle.arrays, bundle.manifest
    assert manifest.probes is not None, "a score of probes needs a bundle with probes"
    num_probes = manifest.probes.num_probes
    complete = [
        index
        for index in range(len(arrays.triggers))
        if len(answered(answers, f"probe/{index}", num_probes)) == num_probes
    ]
    asked = np.array(complete, dtype=np.int64)
    hits = probe_hits(arrays.source_probe_labels[asked], arrays.trigger_labels[asked])
    source = estimated_loss(hits, num_probes)
    suspect = estimated_loss(arrays.model_probe_hits[:, asked], num_probes)
    return asked, matching_rate(suspect, source, manifest.tau)
