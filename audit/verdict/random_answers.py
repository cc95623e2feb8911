"""Does a suspect answer queries like a model at all, or at random?

A thief may detect queries and answer them with any class. Such answers look like nobody's, so that
they would pass for an innocent's. But an innocent is a classifier: on each query it mostly says
what other innocents say, and a derived one what other derived ones say. Somebody who is right on
control images and at chance on queries is hiding something.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from audit.answer import Answer
from audit.bundle.manifest import BundleContents
from audit.question import AGAIN, QuestionId
from audit.scores.query_scores import can_score
from audit.verdict.outcome import Repeats
from audit.verdict.p_values import binomial_tail, fisher_p_value

CHANCE_LEVEL = 0.01
"""Answers count as better than chance if chance gave so many hits less often than this; and answers
to queries as less steady than those to control images if chance gave such a difference less
often."""


def is_at_chance(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64] | NDArray[np.int64]
) -> bool:
    """Return whether answers agree with other models' no more than chance would.

    With n answers out of K classes, chance hits the models' likeliest class
    ``X ~ Binomial(n, 1 / K)`` times; h hits are at chance if ``P(X >= h) > CHANCE_LEVEL``.

    Args:
        labels: Answers ``[n]``; a refusal is no hit.
        probabilities: Mean softmax of the models on the same queries, ``[n, K]``, or how many of
            them gave each answer.

    Example:
        >>> innocents = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]
        >>> bool(is_at_chance(np.array([0, 1, 2, 3, 0, 1, 2, 0]), innocents))
        False
        >>> bool(is_at_chance(np.array([3, 2, 1, 3, 0, 0, 0, 0]), innocents))
        True
    """
    num, num_classes = probabilities.shape
    hits = int((labels == probabilities.argmax(axis=1)).sum())
    return binomial_tail(hits, num, 1 / num_classes) > CHANCE_LEVEL


def agrees_with_any(labels: NDArray[np.int64], models: NDArray[np.int64], num_classes: int) -> bool:
    """Return whether answers agree with some model's more often than chance would.

    With R models, one of them agrees so often by chance with probability at most
    ``R P(X >= h)``, ``X ~ Binomial(n, 1 / K)`` (Bonferroni's bound).

    Args:
        labels: Answers ``[n]``; a refusal agrees with nobody.
        models: Answers of the models, ``[R, n]``.
        num_classes: K.

    Example:
        >>> models = np.array([[0, 1, 2, 3, 0, 1, 2, 3], [3, 3, 3, 3, 0, 0, 0, 0]])
        >>> agrees_with_any(np.array([3, 3, 3, 3, 0, 0, 0, 1]), models, 4)
        True
        >>> agrees_with_any(np.array([1, 0, 3, 2, 1, 0, 3, 2]), models, 4)
        False
    """
    if not models.size:
        return False
    most = int((models == labels).sum(axis=1).max())
    return len(models) * binomial_tail(most, len(labels), 1 / num_classes) <= CHANCE_LEVEL


def is_below_strangers(
    labels: NDArray[np.int64],
    innocent: NDArray[np.int64],
    derived: NDArray[np.int64],
    num_classes: int,
) -> bool:
    """Return whether answers are at chance among models of both kinds, though no innocent's are.

    For queries without known probabilities: the shares of the models' own answers stand in. On
    queries where innocents do not agree with each other, such as noise, being at chance says
    nothing, so that one innocent at chance among the others is enough to say no.

    Args:
        labels: Answers ``[n]``; a refusal is no hit.
        innocent: Answers of innocent models, ``[R, n]``.
        derived: Answers of derived models, ``[S, n]``.
        num_classes: K.
    """
    counts, derived_counts = (
        (pool[..., None] == np.arange(num_classes)).sum(axis=0)  # [R, n] -> [n, K]
        for pool in (innocent, derived)
    )

    def is_lost(given: NDArray[np.int64], others: NDArray[np.int64]) -> bool:
        return is_at_chance(given, others) and is_at_chance(given, derived_counts)

    # One innocent has no others that it could be at chance among.
    if len(innocent) < 2 or not is_lost(labels, counts):
        return False
    # Without its own answers, since everybody agrees with themselves.
    return not any(
        is_lost(own, counts - (own[:, None] == np.arange(num_classes))) for own in innocent
    )


def num_unexpected(
    labels: NDArray[np.int64], likeliest: NDArray[np.int64]
) -> NDArray[np.int64] | int:
    """Count the answers that no pool of models is expected to give.

    Args:
        labels: Answers ``[..., n]``; a refusal is none of the pools' answers.
        likeliest: Each pool's likeliest class of each query, ``[P, n]``.

    Returns:
        ``[...]``, 0..n.
    """
    # [..., n] against [P, n] -> [..., n] -> [...]
    is_expected = (labels[..., None, :] == likeliest).any(axis=-2)
    return np.asarray((~is_expected).sum(axis=-1), dtype=np.int64)


def looks_random(
    bundle: BundleContents, labels: NDArray[np.int64], asked: NDArray[np.int64]
) -> bool:
    """Return whether more of a suspect's answers are unexpected than of any calibration model's.

    If the suspect is exchangeable with the calibration models, that happens to it with probability
    at most ``1 / (R + 1)``.

    Args:
        bundle: Whose queries.
        labels: Answers ``[n]``.
        asked: Their indices, ``[n]``.
    """
    arrays = bundle.arrays
    models = arrays.model_query_labels[:, asked]
    if not len(models) or not len(asked):
        return False
    if can_score(bundle, "likelihood-ratio"):
        pools = [arrays.derived_probabilities[asked], arrays.innocent_probabilities[asked]]
    else:
        is_innocent = np.array(
            [model.role == "innocent" for model in bundle.manifest.calibration_models]
        )
        classes = np.arange(bundle.manifest.task.num_classes)
        # [R, n] -> [n, K]: how many gave each answer
        pools = [
            (models[role][..., None] == classes).sum(axis=0).astype(np.float64)
            for role in (is_innocent, ~is_innocent)
        ]
    # [P, n, K] -> [P, n]
    likeliest = np.array([pool.argmax(axis=1) for pool in pools])
    return bool(num_unexpected(labels, likeliest) > np.max(num_unexpected(models, likeliest)))


def compare_repeats(answers: Mapping[str, Answer]) -> Repeats | None:
    """Compare second answers with first ones; None where nothing was asked again."""
    pairs = [
        (asked.kind, answers[first].label, again.label)
        for question, again in answers.items()
        if question.startswith(AGAIN)
        and (first := str((asked := QuestionId.parse(question)).first)) in answers
    ]
    if not pairs:
        return None
    changed = {
        kind: [one != other for asked, one, other in pairs if asked == kind]
        for kind in ("query", "control")
    }
    counts = {kind: (sum(found), len(found)) for kind, found in changed.items()}
    return Repeats(
        num_queries=counts["query"][1],
        num_queries_changed=counts["query"][0],
        num_controls=counts["control"][1],
        num_controls_changed=counts["control"][0],
        p_value=fisher_p_value(*counts["query"], *counts["control"]),
    )
