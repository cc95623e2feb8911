"""Does a suspect answer queries like a model at all, or at random?

A thief may detect queries and answer them with any class. Such answers look like nobody's, so that
they would pass for an innocent's. But an innocent is a classifier: on each query it mostly says
what other innocents say, and a derived one what other derived ones say. Somebody who is right on
control images and at chance on queries is hiding something.
"""

import numpy as np
from numpy.typing import NDArray

from audit.verdict.p_values import binomial_tail

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

    if len(innocent) < 2 or not is_lost(labels, counts):
        return False
    return not any(
        is_lost(own, counts - (own[:, None] == np.arange(num_classes))) for own in innocent
    )
