"""Does a suspect answer queries like a model at all, or at random?

A thief may detect queries and answer them with any class. Such answers look like nobody's, so that
they would pass for an innocent's. But an innocent is a classifier: on each query it mostly says
what other innocents say, and a derived one what other derived ones say. Somebody who is right on
control images and at chance on queries is hiding something.
"""

import numpy as np
from numpy.typing import NDArray

from audit.significance import binomial_tail

CHANCE_LEVEL = 0.01
"""Answers count as better than chance if chance gave so many hits less often than this."""


def is_at_chance(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> bool:
    """Return whether answers agree with other models' no more than chance would.

    With n answers out of K classes, chance hits the models' likeliest class
    ``X ~ Binomial(n, 1 / K)`` times; h hits are at chance if ``P(X >= h) > CHANCE_LEVEL``.

    Args:
        labels: Answers ``[n]``; a refusal is no hit.
        probabilities: Mean softmax of the models on the same queries, ``[n, K]``.

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
