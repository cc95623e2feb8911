"""Images that are nearly the same: re-encoded, resized, brightened or noisy copies of one another.

Two questions of a line-up that show one picture are one question that is counted twice. A picture
that a member was trained on is no question at all, also when it was stored anew.

Images are compared by the correlation of their thumbnails, which no brightness or contrast
changes. Copies that were shifted by a pixel are half of them found, mirrored ones not.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 8
"""Blocks along a side of a thumbnail."""
NEAR = 0.98
"""Correlation from which on two images are nearly the same. Of 4,000 test images of CIFAR-10 ten
have such a neighbour; of JPEG copies at quality 75 all, of those at 30 nineteen in twenty."""
_BLOCK = 2000
"""Images that are compared with all others at a time."""


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return block means less their mean, of length 1, ``[N, D]``; zeros where nothing is seen.

    Args:
        images: ``[N, H, W, C]``.
    """
    num, height, width, _ = images.shape
    rows = np.linspace(0, height, min(SIDE, height) + 1).astype(int)
    columns = np.linspace(0, width, min(SIDE, width) + 1).astype(int)
    parts = []
    for start in range(0, num, _BLOCK):
        sums = images[start : start + _BLOCK].astype(np.float32)
        sums = np.add.reduceat(sums, rows[:-1], axis=1)
        sums = np.add.reduceat(sums, columns[:-1], axis=2)
        sizes = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
        parts.append((sums / sizes).reshape(len(sums), -1))
    means = np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)
    centred = means - means.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    # A grey level in all of 256 is nothing to be seen.
    is_flat = lengths < np.sqrt(means.shape[1])
    return np.asarray(np.where(is_flat, 0, centred / np.maximum(lengths, 1e-6)), dtype=np.float32)


def near_to_any(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which images are nearly one of the others, ``[N]`` of ``[N, H, W, C]``."""
    own, known = thumbnails(images), thumbnails(others)
    found = np.zeros(len(images), dtype=bool)
    for start in range(0, len(known), _BLOCK):
        found |= (own @ known[start : start + _BLOCK].T >= NEAR).any(axis=1)
    return found


def first_of_each(
    images: NDArray[np.uint8], order: Sequence[int], num_wanted: int
) -> tuple[int, ...]:
    """Return the first places of an order that show no picture a second time.

    Args:
        images: ``[N, H, W, C]``.
        order: Places.
        num_wanted: Largest number.
    """
    small = thumbnails(images)
    kept: list[int] = []
    chosen = np.zeros((num_wanted, small.shape[1]), dtype=np.float32)
    for place in order:
        if len(kept) == num_wanted:
            break
        if not (chosen[: len(kept)] @ small[place] >= NEAR).any():
            chosen[len(kept)] = small[place]
            kept.append(place)
    return tuple(kept)
