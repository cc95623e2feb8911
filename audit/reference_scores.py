"""What the calibration models score on the questions that a suspect answered.

The thresholds and p-values of `audit.verdict` come from these numbers; a report shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.journal import Answer
from audit.manifest import BundleContents, ModelRecord
from audit.methods.likelihood_ratio import answer_evidence, evidence_table, mean_evidence
from audit.methods.mfue import cross_entropy, matching_rate
from audit.monte_carlo import estimated_loss, probe_hits


@dataclass(frozen=True, kw_only=True)
class QueryEvidence:
    """What each answered query of the likelihood ratio says."""

    queries: NDArray[np.int64]
    """Indices into the bundle's queries, in the order of asking, ``[Q]``."""
    labels: NDArray[np.int64]
    """The suspect's classes, ``[Q]``."""
    suspect: NDArray[np.float64]
    """Evidence in nats, ``[Q]``; positive speaks for derivation."""
    models: NDArray[np.float64]
    """Evidence of the calibration models' answers, ``[R, Q]``."""


def reference_scores(
    bundle: BundleContents, answers: Mapping[str, Answer], score: str
) -> tuple[tuple[ModelRecord, float], ...]:
    """Return the score of each calibration model on the questions that were answered.

    Args:
        bundle: What was asked.
        answers: The suspect's, by question.
        score: ``likelihood-ratio``, ``mfue-w`` or ``mfue-b``.

    Returns:
        Models and scores, empty if nothing of this score was answered.
    """
    arrays, tau = bundle.arrays, bundle.manifest.tau
    if score == "likelihood-ratio":
        asked = answered(answers, "query", len(arrays.queries))
        table = _table(bundle)[asked]
        values = mean_evidence(table, arrays.model_query_labels[:, asked])
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


def query_evidence(bundle: BundleContents, answers: Mapping[str, Answer]) -> QueryEvidence | None:
    """Return the evidence query by query; None if no query was answered."""
    asked = answered(answers, "query", len(bundle.arrays.queries))
    if not len(asked):
        return None
    labels = np.array([answers[f"query/{index}"].label for index in asked], dtype=np.int64)
    table = _table(bundle)[asked]  # [Q, K]
    return QueryEvidence(
        queries=asked,
        labels=labels,
        suspect=answer_evidence(table, labels),
        models=answer_evidence(table, bundle.arrays.model_query_labels[:, asked]),
    )


def answered(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    """Return the indices of a kind's questions that have an answer."""
    return np.flatnonzero([f"{kind}/{index}" in answers for index in range(num)])


def _table(bundle: BundleContents) -> NDArray[np.float64]:
    arrays = bundle.arrays
    return evidence_table(
        arrays.derived_probabilities, arrays.innocent_probabilities, bundle.manifest.epsilon
    )


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


def class_name(bundle: BundleContents, label: int) -> str:
    """Return a class in words."""
    return "no answer" if label == REFUSED else bundle.manifest.task.class_names[label]
