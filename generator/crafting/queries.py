"""Queries of the likelihood ratio: the candidates whose answers are expected to say most.

Candidates are natural images, triggers and contrast queries. For each, P is the mean softmax of
derived models and Q that of innocents (`audit.methods.likelihood_ratio`); the best by expected
evidence are kept and put into a random order, so that every prefix of an audit is a random sample.

Derived models come in groups, and every group counts the same: models that kept the source's
weights, and students that only learnt its answers. A thief did one or the other, and no number of
the ones may drown what the others would say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Suspect
from audit.methods.likelihood_ratio import expected_evidence


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Chosen queries in the order of asking."""

    images: NDArray[np.uint8]
    """``[Q, H, W, C]``"""
    derived_probabilities: NDArray[np.float64]
    """P, ``[Q, K]``."""
    innocent_probabilities: NDArray[np.float64]
    """Q, ``[Q, K]``."""
    expected_evidence: NDArray[np.float64]
    """Nats, ``[Q]``."""


def choose_queries(
    candidates: NDArray[np.uint8],
    derived: Sequence[Sequence[Suspect]],
    innocents: Sequence[Suspect],
    *,
    num_queries: int,
    epsilon: float,
    rng: np.random.Generator,
) -> Queries:
    """Choose the queries.

    Args:
        candidates: ``[N, H, W, C]``.
        derived: Groups of selection models with probabilities; each group counts the same.
        innocents: Selection models with probabilities; each counts the same.
        num_queries: At most this many are kept.
        epsilon: See `audit.methods.likelihood_ratio.evidence_table`.
        rng: Source of the order.
    """
    derived_mean = np.mean([mean_probabilities(group, candidates) for group in derived], axis=0)
    innocent_mean = mean_probabilities(innocents, candidates)
    worth = expected_evidence(derived_mean, innocent_mean, epsilon)
    best = np.argsort(-worth, kind="stable")[:num_queries]
    order = rng.permutation(best)
    return Queries(
        images=candidates[order],
        derived_probabilities=derived_mean[order],
        innocent_probabilities=innocent_mean[order],
        expected_evidence=worth[order],
    )


def mean_probabilities(models: Sequence[Suspect], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean softmax of several models, ``[N, K]``."""
    total: NDArray[np.float64] | None = None
    for model in models:
        answers = answer_all(model, images)
        total = np.exp(answers) if total is None else total + np.exp(answers)
    assert total is not None, "callers have at least one model"
    mean = total / len(models)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def answer_all(model: Suspect, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the log-probabilities ``[N, K]`` of any number of images."""
    parts = []
    for start in range(0, len(images), model.batch_size):
        answers = model.predict(images[start : start + model.batch_size])
        assert answers.log_probabilities is not None, "references give probabilities"
        parts.append(answers.log_probabilities)
    return np.concatenate(parts)
