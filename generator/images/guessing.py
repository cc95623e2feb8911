"""Is a model better than a guess? Asked of sources and of everybody who takes part."""

import numpy as np
from numpy.typing import NDArray

from audit.verdict.p_values import binomial_tail

_LUCK = 0.01
"""Chance that a guesser does as well, above which a model may be one."""
_FEW_TIMES, _HALF = 2.0, 0.5


def near_chance(is_right: NDArray[np.bool_], labels: NDArray[np.int64]) -> bool:
    """Return whether a model is hardly better than a guess.

    A guesser who sees no image gets at most the share of the most frequent class. A model is near
    that if the guesser would do as well by luck (exact binomial test), or, with many classes, if it
    is right less than twice as often.

    Args:
        is_right: Which images a model gets right, ``[N]``, N at least 1.
        labels: Their classes, ``[N]``.

    Example:
        >>> near_chance(np.arange(100) < 89, np.arange(100) % 2)
        False
        >>> near_chance(np.arange(100) < 59, np.arange(100) % 2)
        True
    """
    num = len(labels)
    guess = float(np.bincount(labels).max()) / num
    if binomial_tail(int(is_right.sum()), num, guess) > _LUCK:
        return True
    # Better than a guess beyond doubt, and still of no use: this is what a wrong normalisation
    # leaves of a good network.
    is_many = _FEW_TIMES * guess <= _HALF
    return is_many and float(is_right.mean()) < _FEW_TIMES * guess
