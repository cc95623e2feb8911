"""A suspect's score beside those of the calibration models, on the same questions.

The one place that says which questions are compared and what everybody scores on them: thresholds
and p-values of `audit.verdict.judge` come from these numbers, and reports and screens show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, ModelRecord
from audit.bundle.query_order import query_order
from audit.scores.merged_classes import NOT_COMPARED
from audit.scores.mfue import (
    bounded_matches,
    cross_entropy,
    estimated_loss,
    loss_bounds,
    matching_rate,
    probe_hits,
)
from audit.scores.query_scores import calibration_answers, query_scores, suspect_answers


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a suspect and the calibration models score."""

    score: str
    access: str
    """What the suspect told: ``labels``, ``top-k`` or ``probabilities``."""
    asked: NDArray[np.int64]
    """Indices of the queries or triggers that everybody is compared on, ``[n]``."""
    labels: NDArray[np.int64]
    """The suspect's classes, ``[n]``, or ``[n, M]`` for M probes a trigger; `REFUSED` for none."""
    value: float
    """The suspect's score; larger speaks for derivation."""
    models: NDArray[np.float64]
    """The calibration models' scores, ``[R]``; zeros where nothing was asked."""
    num_in_bundle: int
    """Queries or triggers that the bundle has for this suspect."""
    num_undecided: int = 0
    """Triggers that may or may not match, because the suspect tells too little of them."""

    @property
    def num_refused(self) -> int:
        """Answers that were none."""
        return int((self.labels == REFUSED).sum())

    def by_model(self, bundle: BundleContents) -> tuple[tuple[ModelRecord, float], ...]:
        """Return each calibration model with its score; nothing where nothing was asked."""
        if not len(self.asked):
            return ()
        return tuple(zip(bundle.manifest.calibration_models, map(float, self.models), strict=True))


def compare(
    bundle: BundleContents,
    answers: Mapping[str, Answer],
    score: str,
    *,
    num_first: int | None = None,
) -> Comparison:
    """Score a suspect and the calibration models on the questions that the suspect answered.

    Args:
        bundle: What was asked.
        answers: By question id.
        score: One of `audit.scores.query_scores.QUERY_SCORES`, ``mfue-w`` or ``mfue-b``.
        num_first: Compare on so many queries from the first one on, because the audit stopped
            there; answers that were on their way then do not count.

    Raises:
        AuditError: An unknown score.
    """
    if score == "mfue-w":
        return _by_losses(bundle, answers)
    if score == "mfue-b":
        return _by_probes(bundle, answers)
    return _by_queries(bundle, answers, score, num_first)


def whole_scores(
    bundle: BundleContents, score: str, *, with_probabilities: bool = False
) -> NDArray[np.float64]:
    """Return what the calibration models score on all queries of the bundle, ``[R]``.

    Args:
        bundle: Its queries.
        score: One of `audit.scores.query_scores.QUERY_SCORES`.
        with_probabilities: Compare by probabilities where the bundle has them.
    """
    every = np.arange(len(bundle.arrays.queries))
    models = calibration_answers(bundle, every, with_probabilities=with_probabilities)
    return query_scores(bundle, score, models)


def answered(answers: Mapping[str, Answer], kind: str, num: int) -> NDArray[np.int64]:
    """Return the indices of a kind's questions that have an answer."""
    return np.flatnonzero([f"{kind}/{index}" in answers for index in range(num)])


def asked_queries(bundle: BundleContents, answers: Mapping[str, Answer]) -> NDArray[np.int64]:
    """Return the indices of the queries that have an answer, in the order of asking."""
    order = query_order(bundle)
    return order[np.isin(order, answered(answers, "query", len(bundle.arrays.queries)))]


def _by_queries(
    bundle: BundleContents, answers: Mapping[str, Answer], score: str, num_first: int | None
) -> Comparison:
    num_in_bundle = len(query_order(bundle))
    asked = np.sort(asked_queries(bundle, answers)[:num_first])
    given = suspect_answers(bundle, answers, asked)
    uses_probabilities = score == "sample-correlation" and given.log_probabilities is not None
    # Models are compared by no more than the suspect tells.
    models = calibration_answers(
        bundle, asked, with_probabilities=uses_probabilities, boundaries=given.boundaries
    )
    access = "probabilities" if uses_probabilities else "labels"
    return Comparison(
        score=score,
        access=given.access if score == "rank-correlation" else access,
        asked=asked,
        labels=given.labels[0],
        value=_share(query_scores(bundle, score, given)[0], len(asked)),
        models=_none_without(asked, query_scores(bundle, score, models)),
        num_in_bundle=num_in_bundle,
    )


def _by_losses(bundle: BundleContents, answers: Mapping[str, Answer]) -> Comparison:
    arrays, tau = bundle.arrays, bundle.manifest.tau
    asked = _comparable(bundle, answered(answers, "trigger", len(arrays.triggers)))
    given = [answers[f"trigger/{index}"] for index in asked]
    num_classes = bundle.manifest.task.num_classes
    # [n, K], also for n = 0; a row without probabilities says nothing of any class
    rows = np.array(
        [
            np.full(num_classes, np.nan) if one.log_probabilities is None else one.log_probabilities
            for one in given
        ]
    ).reshape(-1, num_classes)
    labels = arrays.trigger_labels[asked]
    source = cross_entropy(arrays.source_trigger_log_probabilities[asked], labels)
    # Where only bounds are known, a trigger matches if every loss within them does.
    low, high = loss_bounds(rows, labels)
    matches, is_open = bounded_matches(low, high, source, tau)
    # A refusal has no row either, but that is not how little the suspect tells; it counts by
    # itself.
    is_answered = np.array([one.label != REFUSED for one in given], dtype=bool)
    return Comparison(
        score="mfue-w",
        access="top-k" if np.isnan(rows[is_answered]).any() else "probabilities",
        asked=asked,
        labels=np.array([one.label for one in given], dtype=np.int64),
        value=int(matches.sum()) / max(1, len(asked)),
        models=_none_without(
            asked, matching_rate(arrays.model_trigger_losses[:, asked], source, tau)
        ),
        num_in_bundle=len(arrays.triggers),
        num_undecided=int((is_open & is_answered).sum()),
    )


def _by_probes(bundle: BundleContents, answers: Mapping[str, Answer]) -> Comparison:
    arrays, manifest = bundle.arrays, bundle.manifest
    assert manifest.probes is not None, "a score of probes needs a bundle with probes"
    num_probes = manifest.probes.num_probes
    # A loss is estimated from all probes of a trigger or not at all.
    asked = np.array(
        [
            index
            for index in range(len(arrays.triggers))
            if len(answered(answers, f"probe/{index}", num_probes)) == num_probes
        ],
        dtype=np.int64,
    )
    asked = _comparable(bundle, asked)
    labels = np.array(
        [
            [answers[f"probe/{index}/{probe}"].label for probe in range(num_probes)]
            for index in asked
        ],
        dtype=np.int64,
    ).reshape(-1, num_probes)
    trigger_labels = arrays.trigger_labels[asked]
    source = estimated_loss(
        probe_hits(arrays.source_probe_labels[asked], trigger_labels), num_probes
    )
    suspect = estimated_loss(probe_hits(labels, trigger_labels), num_probes)
    models = estimated_loss(arrays.model_probe_hits[:, asked], num_probes)  # [R, n]
    return Comparison(
        score="mfue-b",
        access="labels",
        asked=asked,
        labels=labels,
        value=_share(matching_rate(suspect, source, manifest.tau), len(asked)),
        models=_none_without(asked, matching_rate(models, source, manifest.tau)),
        num_in_bundle=len(arrays.triggers),
    )


def _comparable(bundle: BundleContents, asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the triggers whose class is one class for everybody, ``[n]`` of ``[m]``."""
    is_one = bundle.arrays.trigger_labels[asked] != NOT_COMPARED
    return np.asarray(asked[is_one])


def _share(value: NDArray[np.float64], num: int) -> float:
    return float(value) if num else 0.0


def _none_without(asked: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    # The mean of nothing is no number.
    return scores if len(asked) else np.zeros(len(scores))
