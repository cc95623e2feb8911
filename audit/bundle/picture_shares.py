"""How much of a bundle's evidence each picture carries.

What a query is worth is what its answers set apart: the mean evidence of the derived calibration
models' answers less that of the innocents'. Queries that show nearly the same picture count
together, since whoever errs on one errs on the others: an image that stands a hundred times is one
piece of evidence. This must look at nothing but what is signed.
"""

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import Arrays, Manifest

_SIDE = 8
"""Pixels of the thumbnails that are compared: a changed pixel or noise is no other picture."""
_SAME = 0.1
"""Thumbnails nearer than this share of the usual distance of control images show the same picture.
A trigger and the natural image that it was made from do, too."""
_MAX_SAMPLE = 1000
"""Control images whose distances tell the usual one."""
_CHUNK = 256


def picture_shares(manifest: Manifest, arrays: Arrays) -> NDArray[np.float64]:
    """Return the share of all evidence that the picture of each query carries.

    Args:
        manifest: Its models, epsilon and score.
        arrays: Q queries and the calibration models' answers to them.

    Returns:
        In 0..1, ``[Q]``; zeros where the answers set nobody apart.
    """
    worth = _worth(manifest, arrays)
    total = worth.sum()
    if not total:
        return worth
    thumbnails = _thumbnails(arrays.queries)
    # How far images of the task lie apart: of queries that are all alike nobody could tell.
    sample = _thumbnails(arrays.controls[:_MAX_SAMPLE])
    distances = _distances(sample, sample)
    usual = float(np.median(distances[np.triu_indices(len(sample), 1)])) if len(sample) > 1 else 0.0
    carried = [
        (_distances(thumbnails[start : start + _CHUNK], thumbnails) <= _SAME * usual) @ worth
        for start in range(0, len(thumbnails), _CHUNK)
    ]
    return np.asarray(np.concatenate(carried) / total)


def _worth(manifest: Manifest, arrays: Arrays) -> NDArray[np.float64]:
    """Return what each query sets apart, at least 0, ``[Q]``."""
    is_innocent = np.array([one.role == "innocent" for one in manifest.calibration_models])
    labels = arrays.model_query_labels
    if not is_innocent.any() or is_innocent.all():
        return np.zeros(len(arrays.queries))
    if len(arrays.derived_probabilities):
        # Equation of `audit.scores.likelihood_ratio`; shares need none of its exactness.
        table = np.log(arrays.derived_probabilities + manifest.epsilon) - np.log(
            arrays.innocent_probabilities + manifest.epsilon
        )
        told = table[np.arange(len(table)), labels]  # [Q, K] by [R, Q]
    else:
        told = (labels == arrays.source_query_labels).astype(np.float64)
    apart = told[~is_innocent].mean(axis=0) - told[is_innocent].mean(axis=0)
    return np.asarray(np.maximum(apart, 0.0))


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return block means, ``[Q, H, W, C]`` to ``[Q, D]``."""
    rows, columns = (
        np.array_split(np.arange(size), min(_SIDE, size)) for size in images.shape[1:3]
    )
    bands = np.stack([images[:, part].mean(axis=1) for part in rows], axis=1)
    small = np.stack([bands[:, :, part].mean(axis=2) for part in columns], axis=2)
    return np.asarray(small.reshape(len(images), -1))


def _distances(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Euclidean distances of all pairs, ``[A, D]`` and ``[B, D]`` to ``[A, B]``."""
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * some @ others.T
    # Rounding may leave a little below zero, or above it for an image and itself.
    return np.asarray(np.sqrt(np.where(squares < 1e-6, 0.0, squares)))
