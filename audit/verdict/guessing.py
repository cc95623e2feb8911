"""Is a model better than a guess? Asked of sources and of everybody who takes part."""

import numpy as np
from numpy.typing import NDArray

from audit.verdict.p_values import binomial_tail

_LUCK = 0.01
"""Chance that a guesser does as well, above which a model may be one."""
_FEW_TIMES, _HALF = 2.0, 0.5


def near_chance(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> bool:
    """Return whether a model is of no use as a source: hardly better than a guess.

    Args:
        is_right: Which images a model gets right, ``[N]``, N at least 1.
        labels: Their classes, ``[N]``.

    Example:
        >>> near_chance(np.arange(100) < 89, np.arange(100) % 2)
        False
        >>> near_chance(np.arange(100) < 59, np.arange(100) % 2)
        True
    """
    if may_be_guessing(is_right, labels):
        return True
    # Better than a guess beyond doubt, and still of no use: this is what a wrong normalisation
    # leaves of a good network. With few classes twice a guess is all images.
    guess = _guess(labels)
    return _FEW_TIMES * guess <= _HALF and float(is_right.mean()) < _FEW_TIMES * guess


def may_be_guessing(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> bool:
    """Return whether a guesser would do as well by luck (exact binomial test).

    A guesser who sees no image gets at most the share of the most frequent class. Arguments as of
    `near_chance`.
    """
    return binomial_tail(int(is_right.sum()), len(labels), _guess(labels)) > _LUCK


def least_share(labels: NDArray[np.int64]) -> float:
    """Return the smallest share of right images that is no luck of a guesser; 1 if all may be.

    Example:
        >>> least_share(np.arange(100) % 2)
        0.63
    """
    num = len(labels)
    hits = range(num + 1)
    found = (one for one in hits if not may_be_guessing(np.arange(num) < one, labels))
    return next(found, num) / num


def _guess(labels: NDArray[np.int64]) -> float:
    return float(np.bincount(labels).max()) / len(labels)
