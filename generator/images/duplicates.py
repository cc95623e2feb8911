"""Images that stand in two sets: the same picture, or nearly the same.

A picture is told by its grey miniature of 16 by 16 pixels. Two that correlate almost perfectly, at
nearly the same brightness, are one picture: saved again, scaled, or cut by a pixel.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from generator.images.labelled import ImageSet

_SIDE = 16
_MIN_CORRELATION = 0.995
_MAX_BRIGHTNESS = 8.0
"""Largest difference of mean grey, 0-255."""
_FLAT = 1.0
"""Deviation of grey, 0-255, below which a miniature shows nothing to compare."""
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What of one set stands in another."""

    same: NDArray[np.int64]
    """Images whose pixels are in the other set, as indices."""
    similar: NDArray[np.int64]
    """Further images that are nearly the same as one of the other set."""

    @property
    def num(self) -> int:
        """Return how many there are of both."""
        return len(self.same) + len(self.similar)


def find_duplicates(images: ImageSet, others: ImageSet) -> Duplicates:
    """Find the images that stand in another set, too.

    Args:
        images: Of one shape with ``others``.
        others: The other set.
    """
    known = set(map(_digest, others.images))
    is_same = np.array([_digest(image) in known for image in images.images], dtype=bool)
    rest = np.flatnonzero(~is_same)
    ours, our_means = _miniatures(images.images[rest])
    theirs, their_means = _miniatures(others.images)
    is_similar = np.zeros(len(rest), dtype=bool)
    for start in range(0, len(rest), _ROWS):
        rows = slice(start, start + _ROWS)
        alike = ours[rows] @ theirs.T > _MIN_CORRELATION  # [R, M]
        alike &= np.abs(our_means[rows, None] - their_means) < _MAX_BRIGHTNESS
        is_similar[rows] = alike.any(axis=1)
    return Duplicates(same=np.flatnonzero(is_same), similar=rest[is_similar])


def num_flat(images: ImageSet) -> int:
    """Return how many images are of one colour all over."""
    flat = images.images.reshape(len(images), -1, images.images.shape[-1])
    return int((flat.max(axis=1) == flat.min(axis=1)).all(axis=1).sum())


def _digest(image: NDArray[np.uint8]) -> bytes:
    # Of the pixels alone: large sets are read from the disk, and must not come into memory here.
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _miniatures(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return miniatures ``[N, 256]`` of mean 0 and length 1, flat ones 0, and their mean grey."""
    small = np.empty((len(images), _SIDE * _SIDE), dtype=np.float32)
    for number, image in enumerate(images):
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).convert("L")
        # In fractions of grey from here on: 8 bits are too coarse for what is left of an image.
        reduced = picture.convert("F").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        small[number] = np.asarray(reduced).ravel()
    means = small.mean(axis=1)
    small -= means[:, None]
    lengths = np.linalg.norm(small, axis=1)
    lengths[lengths < _FLAT * _SIDE] = np.inf
    return small / lengths[:, None], means
