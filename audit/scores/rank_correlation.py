"""Whose relative is a suspect? Correlation of rankings with derived models and with innocents.

Every answer tells a *partial ranking* of the K classes: a label says which one is first, top-k
which k come first and in what order, probabilities the order of all, with ties where rounding made
classes equal. Let rho_q(f, g) be Spearman's correlation of two models' rankings of query q, tied
classes sharing the mean of their ranks. The score is

    max over derived selection models of mean_q rho_q(suspect, g)
    - max over innocent selection models of mean_q rho_q(suspect, g)

so that a suspect is compared with its nearest relative on each side, and not with an average: a
model that was changed far is still nearer to some removal than to any innocent, and a good
stranger nearer to other good strangers. Only orders enter: temperature, or any other monotone
change of the scores, moves nothing. Rounding can only tie classes, and then every model is compared
by rankings that are as coarse as the suspect's: what is not told is used nowhere.

All ranks are integers and each correlation is rounded to `GRID`: everybody computes the same score.

Sources: Spearman, "The proof and measurement of association between two things", 1904 (ranks, ties
by mean rank); the comparison with the nearest model of either kind is ours (docs/verdict.md).
"""

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED

RANKING_DEPTH = 10
"""Classes of a model's ranking that a bundle keeps; all of them where there are few."""
GRID = 2.0**-24
"""Correlations are rounded to multiples of this, so that their sums are exact."""


def top_classes(log_probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the first classes of each ranking, likeliest first; of equals the lower index.

    Args:
        log_probabilities: ``[..., K]``.

    Returns:
        ``[..., D]`` with D = min(`RANKING_DEPTH`, K - 1): the last place follows from the others.

    Example:
        >>> top_classes(np.log([[0.2, 0.5, 0.3]])).tolist()
        [[1, 2]]
    """
    # Only a stable sort puts the lower index first among equals, on every machine.
    order = np.argsort(-log_probabilities, axis=-1, kind="stable")
    depth = min(RANKING_DEPTH, log_probabilities.shape[-1] - 1)
    return np.asarray(order[..., :depth], dtype=np.int64)


def positions_of(top: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return how many classes stand before each one.

    Args:
        top: First classes, ``[..., D]``.
        num_classes: K.

    Returns:
        ``[..., K]``; D for all classes that are not among the first D.
    """
    depth = top.shape[-1]
    # [..., D] -> [..., K]: class top[d] has d classes before it, every other class all D.
    positions = np.full((*top.shape[:-1], num_classes), depth, dtype=np.int64)
    np.put_along_axis(positions, top, np.broadcast_to(np.arange(depth), top.shape), axis=-1)
    return positions


def told_positions(
    labels: NDArray[np.int64], log_probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many classes each answer puts before each class.

    Args:
        labels: ``[Q]``, `REFUSED` where there is none.
        log_probabilities: ``[Q, K]``, NaN for a class of which nothing is told (top-k); a row of
            NaN tells the label only.

    Returns:
        ``[Q, K]``; the same for classes that the answer does not tell apart.

    Example:
        Probabilities with a tie, the first two classes of four, and a label:

        >>> nan = np.nan
        >>> rows = np.array([[0.1, 0.4, 0.4, 0.1], [nan, 0.3, nan, 0.6], [nan, nan, nan, nan]])
        >>> told_positions(np.array([1, 3, 2]), np.log(rows)).tolist()
        [[2, 0, 0, 2], [2, 1, 2, 0], [1, 1, 0, 1]]
    """
    positions = np.zeros(log_probabilities.shape, dtype=np.int64)
    for row, (label, given) in enumerate(zip(labels, log_probabilities, strict=True)):
        is_told = ~np.isnan(given)
        # A refusal leaves all classes at 0, so that it tells nothing apart.
        if label == REFUSED:
            continue
        if not is_told.any():
            positions[row] = 1
            positions[row, label] = 0
            continue
        rising = np.sort(given[is_told])
        # Strictly larger ones count, so that equal classes share a position.
        above = len(rising) - np.searchsorted(rising, given[is_told], side="right")
        positions[row] = len(rising)
        positions[row, is_told] = above
    return positions


def told_boundaries(positions: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
    """Return where an answer tells two neighbours in the ranking apart.

    Args:
        positions: Of the classes, ``[Q, K]``.
        depth: Places that other models' rankings reach to; what lies beyond cannot be compared.

    Returns:
        ``[Q, K]``: whether the class in place k is told from the one before it. Never for k = 0.
    """
    places = np.zeros(positions.shape, dtype=bool)
    np.put_along_axis(places, positions, True, axis=1)
    # The boundary at `depth` itself stays: other models tell their first classes from all others.
    places[:, 0] = places[:, depth + 1 :] = False
    return places


def mean_ranks(boundaries: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rank of each place, shared by places that are not told apart.

    Args:
        boundaries: ``[Q, K]``, from `told_boundaries`.

    Returns:
        Twice the mean rank less ``K - 1``, so that all are integers and add up to 0, ``[Q, K]``.

    Example:
        A label out of four classes, and a full ranking:

        >>> mean_ranks(np.array([[False, True, False, False], [False, True, True, True]])).tolist()
        [[-3, 1, 1, 1], [-3, -1, 1, 3]]
    """
    num_classes = boundaries.shape[1]
    places = np.arange(num_classes)
    first = np.maximum.accumulate(np.where(boundaries, places, 0), axis=1)
    # the place before the next boundary: the same from the right
    following = np.roll(np.where(boundaries, places - 1, num_classes - 1), -1, axis=1)
    following[:, -1] = num_classes - 1
    last = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    # first + last is twice the mean of the places that share a rank: no fractions, no rounding.
    return np.asarray(first + last - (num_classes - 1))


def nearest_relatives(
    positions: NDArray[np.int64],
    boundaries: NDArray[np.bool_],
    is_refused: NDArray[np.bool_],
    derived: NDArray[np.int64],
    innocent: NDArray[np.int64],
) -> tuple[float, float]:
    """Return a model's mean rank correlation with its nearest derived and its nearest innocent one.

    A refusal counts as the answer that speaks most against derivation: -1 with every derived
    model, 1 with every innocent one. An answer that tells no order at all counts 0.

    Args:
        positions: Of the classes by the model's answers, ``[Q, K]``.
        boundaries: Places that are told apart, ``[Q, K]``: by the suspect, for everybody.
        is_refused: ``[Q]``.
        derived: Positions by derived selection models, ``[S, Q, K]``.
        innocent: Positions by innocent ones, ``[T, Q, K]``.

    Returns:
        Both in [-1, 1]; 0 where there are no queries.
    """
    ranks = mean_ranks(boundaries)
    # [Q, K] by place -> [Q, K] by class
    own = np.take_along_axis(ranks, positions, axis=1)
    # Both rankings share the same places, so their ranks are the same numbers in two orders: this
    # is Spearman's denominator for either, and with ranks that add up to 0 no mean has to be taken
    # off.
    squares = (ranks * ranks).sum(axis=1)

    def nearest(pool: NDArray[np.int64], refusal: float) -> float:
        theirs = np.take_along_axis(ranks[None], pool, axis=2)  # [S, Q, K]
        products = (theirs * own).sum(axis=2)  # [S, Q, K] -> [S, Q]
        # Where nothing is told apart all ranks are 0, and 0 / 1 is the correlation that counts
        # then.
        correlations = np.rint(products / np.maximum(squares, 1) / GRID) * GRID
        correlations[:, is_refused] = refusal
        return float((correlations.sum(axis=1) / max(1, len(own))).max())

    return nearest(derived, -1.0), nearest(innocent, 1.0)
