"""Which of the bundle's classes a file with fewer scores does not have, by labelled images.

Only readings that keep the bundle's order are looked at: a network whose class was dropped keeps
the others where they were. The one that gets most images right is taken if chance would hardly have
set it apart from the best that has one of its absent classes; otherwise somebody has to say.
"""

from math import comb

import numpy as np
from numpy.typing import NDArray

SURE = 0.05
"""Chance may set the best reading apart from another one less often than this."""


def fewest_classes(num_classes: int) -> int:
    """Return how many of K classes a suspect must have to be compared: half, and two."""
    return max(2, num_classes - num_classes // 2)


def present_classes(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], bool]:
    """Return the bundle's class of each score, and whether it is sure.

    Args:
        counts: Images by true class and best score, ``[K, W]``, with W below K.

    Example:
        >>> present_classes(np.array([[20, 0], [3, 2], [0, 20]]))
        ((0, 2), True)
        >>> present_classes(np.array([[9, 0], [4, 6], [3, 5]]))
        ((0, 1), False)
    """
    best = _in_order(counts, None)
    hits = set(zip(best, range(len(best)), strict=True))
    absent = set(range(len(counts))) - set(best)
    is_sure = True
    for index in absent:
        rival = set(zip(_in_order(counts, index), range(len(best)), strict=True))
        won = sum(int(counts[place]) for place in hits - rival)
        lost = sum(int(counts[place]) for place in rival - hits)
        is_sure = is_sure and _tail(won, won + lost) <= SURE
    return best, is_sure


def _in_order(counts: NDArray[np.int64], required: int | None) -> tuple[int, ...]:
    """Return the rising classes ``[W]`` with most images right, one of them as required."""
    num_classes, width = counts.shape
    slack = num_classes - width
    # right[j, s]: most images of the first j scores if s classes were left out before them.
    right = np.full((width + 1, slack + 1), -np.inf)
    right[0, :] = 0
    came = np.zeros((width + 1, slack + 1), dtype=np.int64)
    if required is not None:
        right[0, required + 1 :] = -np.inf  # class `required` would be left out before any score
    for column in range(width):
        for skipped in range(slack + 1):
            options = right[column, : skipped + 1].copy()
            if required is not None:
                # Going from s to `skipped` leaves out the classes column + s to column + skipped.
                for before in range(skipped + 1):
                    if column and column + before <= required < column + skipped:
                        options[before] = -np.inf
            if not column:
                options[:skipped] = -np.inf
            came[column + 1, skipped] = int(options.argmax())
            right[column + 1, skipped] = options.max() + counts[column + skipped, column]
    ends = right[width].copy()
    if required is not None:
        for skipped in range(slack + 1):
            if width + skipped <= required:  # left out behind the last score
                ends[skipped] = -np.inf
    skipped = int(ends.argmax())
    found = []
    for column in range(width, 0, -1):
        found.append(column - 1 + skipped)
        skipped = int(came[column, skipped])
    return tuple(reversed(found))


def _tail(hits: int, num: int) -> float:
    """Return how likely a fair coin is to show at least so many heads."""
    return float(sum(comb(num, k) for k in range(hits, num + 1)) / 2**num)
