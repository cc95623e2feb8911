"""Labelled images: as pixels of one shape, and as files that nobody has read yet.

Which files serve what is decided on the list; only those are ever decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.images.entries import ImageEntry


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with their classes."""

    images: NDArray[np.uint8]
    """Pixels ``[N, H, W, C]``, RGB or grey, 0-255."""
    labels: NDArray[np.int64]
    """Class index of each image, ``[N]``."""
    class_names: tuple[str, ...]
    """Names by class index, ``K`` of them."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def take(self, indices: NDArray[np.int64]) -> "ImageSet":
        """Return the images at ``indices``, in that order."""
        return ImageSet(self.images[indices], self.labels[indices], self.class_names)

    def balanced_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random order in which every prefix is class-balanced as far as possible.

        Returns:
            A permutation of ``range(N)``.
        """
        return _balanced_order(self.labels, rng)


@dataclass(frozen=True)
class ImageList:
    """Image files with their classes, not decoded."""

    entries: Sequence[ImageEntry]
    labels: NDArray[np.int64]
    """Class index of each image, ``[N]``."""
    class_names: tuple[str, ...]
    """Names by class index, ``K`` of them."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.entries)

    def take(self, indices: NDArray[np.int64]) -> "ImageList":
        """Return the files at ``indices``, in that order."""
        entries = [self.entries[index] for index in indices]
        return ImageList(entries, self.labels[indices], self.class_names)

    def balanced_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the same as `ImageSet.balanced_order`."""
        return _balanced_order(self.labels, rng)


def _balanced_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = rng.permutation(len(members))
    # First by round (one of each class a round), then at random within the round.
    return np.lexsort((rng.random(len(labels)), rank))
