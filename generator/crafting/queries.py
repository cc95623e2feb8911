"""Queries of the likelihood ratio: the candidates whose answers are expected to say most.

Candidates are natural images, and crafted ones: triggers and contrast queries. For each, P is the
mean softmax of derived models and Q that of innocents (`audit.scores.likelihood_ratio`); the best
by expected evidence are kept and put into a random order, so that every prefix of an audit is a
random sample. Crafted images say most where the weights were kept, natural ones where only answers
were learnt: a student repeats its teacher's mistakes, but crafted images need not carry over to its
architecture.

Derived models come in groups, and every group counts the same: models that kept the source's
weights, and students that only learnt its answers. A thief did one or the other, and no number of
the ones may drown what the others would say. The source behind servers that change images has a
veto: a query on which less than half of these deployments answer as copies do says something about
untouched images only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Suspect
from audit.scores.likelihood_ratio import expected_evidence
from audit.verdict.rule import MIN_QUERIES
from generator.errors import GenerationError
from generator.sources.torch_suspect import answer_all

_KEPT_SHARE = 0.5
"""Of the deployments that must answer a query as copies do."""


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
    candidates: Sequence[NDArray[np.uint8]],
    derived: Sequence[Sequence[Suspect]],
    deployments: Sequence[Suspect],
    innocents: Sequence[Suspect],
    *,
    num_queries: int,
    epsilon: float,
    rng: np.random.Generator,
) -> Queries:
    """Choose the queries.

    Args:
        candidates: Kinds of images, each ``[N, H, W, C]``; every kind gives an equal share, or all
            that it has.
        derived: Groups of selection models with probabilities; each group counts the same.
        deployments: Selection deployments; may be none.
        innocents: Selection models with probabilities; each counts the same.
        num_queries: At most this many are kept.
        epsilon: See `audit.scores.likelihood_ratio.evidence_table`.
        rng: Source of the order.

    Raises:
        GenerationError: Deployments leave too few.
    """
    images = np.concatenate(candidates)
    groups = [mean_probabilities(group, images) for group in derived]
    derived_mean = np.mean(groups, axis=0)
    innocent_mean = mean_probabilities(innocents, images)
    worth = expected_evidence(derived_mean, innocent_mean, epsilon)
    ranked = np.argsort(-worth, kind="stable")
    if deployments:
        # By the first group: what models answer that have the source's weights and its inputs.
        copied = groups[0].argmax(axis=1)
        same = [answer_all(one, images).argmax(axis=1) == copied for one in deployments]
        kept = np.mean(same, axis=0) >= _KEPT_SHARE  # [D, N] -> [N]
        ranked = ranked[kept[ranked]]
        if len(ranked) < min(num_queries, MIN_QUERIES):
            raise GenerationError(
                f"queries: expected at least {MIN_QUERIES} on which deployments answer as copies "
                f"do, got {len(ranked)} of {len(images)} candidates; give more images with "
                "--held-out"
            )
    kinds = np.repeat(np.arange(len(candidates)), [len(kind) for kind in candidates])
    best = _equal_shares(ranked, kinds[ranked], num_queries)
    order = rng.permutation(best)
    return Queries(
        images=images[order],
        derived_probabilities=derived_mean[order],
        innocent_probabilities=innocent_mean[order],
        expected_evidence=worth[order],
    )


def _equal_shares(
    ranked: NDArray[np.int64], kinds: NDArray[np.int64], num_wanted: int
) -> NDArray[np.int64]:
    """Take the first of each kind, then the second of each, and so on; kinds that end are skipped.

    Args:
        ranked: Positions, best first, ``[N]``.
        kinds: The kind of each, ``[N]``.
        num_wanted: At most so many.
    """
    # turn: how many of its kind come before it. A stable sort by that keeps the best first.
    turn = np.empty(len(ranked), dtype=np.int64)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        turn[members] = np.arange(len(members))
    return ranked[np.argsort(turn, kind="stable")[:num_wanted]]


def mean_probabilities(models: Sequence[Suspect], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean softmax of several models, ``[N, K]``."""
    total: NDArray[np.float64] | None = None
    for model in models:
        answers = answer_all(model, images)
        total = np.exp(answers) if total is None else total + np.exp(answers)
    assert total is not None, "callers have at least one model"
    mean = total / len(models)
    # Exponentials of logarithms miss a sum of 1 by their rounding, and a bundle is checked for it.
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))
