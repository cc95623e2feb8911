"""The score of SAC: do a suspect's answers resemble each other where the source's do?

Guan, Liang, He, "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural
Networks", NeurIPS 2022. Let o_i be a model's answer to query i and

    C_ij = cos(o_i, o_j),    score = 1 - (1 / Q^2) sum_ij |C_ij(suspect) - C_ij(source)|

so that 1 is the source itself. Answers are probabilities where there are some. From labels they are
the softmax of a row that is 1 at the label and 0.01 elsewhere, as in the authors' code: then C_ij
is 1 for equal labels and one constant for different ones, and the score counts the pairs of queries
that one model tells apart and the other does not.

Differences to the authors' code, which correlates logits: a suspect tells no logits, so these are
probabilities; and (1 - cos) / 2 there is cos here, which only halves all distances.

A refused query counts as far from the source as a row of C can be: refusing never helps to look
derived. Correlations are rounded to `GRID`, so that sums are exact and everybody computes the same.
"""

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED

SOFTENED_RATIO = 2.691234472349262
"""e^(1 - 0.01): the largest entry of a softened label over each other one."""
GRID = 2.0**-16
"""Correlations are rounded to multiples of this, far below what tells models apart and far above
what another machine's exponential or order of adding changes."""


def label_correlation(num_classes: int) -> float:
    """Return the cosine of two softened labels that differ.

    With entries r, 1, ..., 1 up to scale it is ``(2 r + K - 2) / (r^2 + K - 1)``.

    Args:
        num_classes: K, at least 2.

    Example:
        >>> round(label_correlation(10), 4)
        0.8239
    """
    ratio, rest = SOFTENED_RATIO, num_classes - 1
    return (2 * ratio + rest - 1) / (ratio * ratio + rest)


def label_similarity(
    labels: NDArray[np.int64], source_labels: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Return the score from labels.

    Args:
        labels: Answers ``[M, Q]`` of M models, `REFUSED` where there is none.
        source_labels: ``[Q]``.
        num_classes: K.

    Returns:
        ``[M]``, at most 1; 1 where there are no queries.

    Example:
        Two of the nine ordered pairs differ: the source tells the last two queries apart.

        >>> label_similarity(np.array([[0, 1, 1]]), np.array([0, 1, 2]), 10).round(4)
        array([0.9609])
    """
    together = source_labels[:, None] == source_labels  # [Q, Q]
    scores = np.ones(len(labels))
    step = 1 - label_correlation(num_classes)
    for row, given in enumerate(labels):
        refused = given == REFUSED
        differs = (given[:, None] == given) != together
        # Row and column, a query with itself included: docs/bundle-format.md counts all ordered
        # pairs.
        differs[refused] = differs[:, refused] = True
        # Whole pairs are counted before the step comes in: no order of adding, no rounding.
        scores[row] = 1 - step * int(differs.sum()) / max(1, differs.size)
    return scores


def probability_similarity(
    log_probabilities: NDArray[np.float64], source_log_probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the score from probabilities.

    Args:
        log_probabilities: Answers ``[M, Q, K]`` of M models; a row of NaN where there is none.
        source_log_probabilities: ``[Q, K]``.

    Returns:
        ``[M]`` in [0, 1]; 1 where there are no queries.
    """
    source = _correlations(source_log_probabilities)
    farthest = np.maximum(source, 1 - source)
    scores = np.ones(len(log_probabilities))
    for row, given in enumerate(log_probabilities):
        refused = np.isnan(given).any(axis=-1)
        # Refused rows hold anything here; their pairs get the largest distance in the next line.
        distances = np.abs(_correlations(np.where(refused[:, None], 0.0, given)) - source)
        distances[refused], distances[:, refused] = farthest[refused], farthest[:, refused]
        scores[row] = 1 - distances.sum() / max(1, distances.size)
    return scores


def _correlations(log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosines of rows, ``[Q, K]`` to ``[Q, Q]``, on the grid; in [0, 1]."""
    rows = np.exp(log_probabilities)
    units = rows / np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    cosines = units @ units.T  # [Q, K] x [K, Q]
    return np.asarray(np.rint(np.clip(cosines, 0, 1) / GRID) * GRID)
