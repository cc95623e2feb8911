"""Near-duplicate queries: clients that walk, probe or search ask almost the same again and again.

A stateful detector in the manner of Chen, Carlini and Wagner, "Stateful Detection of Black-Box
Adversarial Attacks", 2019: each query is compared with the client's earlier ones. Their learned
encoder is replaced by block means, which forget pixel noise and keep the picture:

    score(x_n) = - mean of the k smallest RMS distances |e(x_n) - e(x_m)|, m < n, in 8-bit levels

Trajectories and Monte Carlo probes of one trigger lie close together. So do images of plain noise,
whose block means are all alike. Natural images do not, nor does a fingerprint of one natural image
per query. The more a client asks, the closer its nearest earlier query: the threshold has to come
from clean clients that ask as often.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import nn

_BLOCK = 512
"""Queries compared with all earlier ones at once; bounds memory."""
_FARTHEST = 255.0
"""Largest RMS distance of two images in levels; that of a query without predecessors."""


class NearDuplicates:
    """Distance to a client's earlier queries; satisfies `Detector`.

    Args:
        side: Block means along each side of the encoded image.
        num_neighbours: k; a query with fewer predecessors is compared with all of them.
    """

    def __init__(self, *, side: int = 4, num_neighbours: int = 1) -> None:
        if side < 1 or num_neighbours < 1:
            raise ValueError(
                "near-duplicates: expected side and num_neighbours of at least 1, got "
                f"{side} and {num_neighbours}"
            )
        self._side, self._num_neighbours = side, num_neighbours

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Learn nothing: distances need neither model nor training images."""

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compare each query of one client with the earlier ones; see `Detector.scores`.

        Every call is another client: nothing is remembered from one to the next.

        Returns:
            ``[N]`` in [-255, 0]; 0 is an exact repetition.
        """
        codes = block_means(images, self._side)
        nearest = np.full(len(codes), _FARTHEST)
        for start in range(0, len(codes), _BLOCK):
            block = codes[start : start + _BLOCK]
            distances = cdist(block, codes[: start + len(block)]) / codes.shape[1] ** 0.5
            for row, distance in enumerate(distances):
                earlier = distance[: start + row]
                if len(earlier):
                    k = min(self._num_neighbours, len(earlier))
                    nearest[start + row] = np.partition(earlier, k - 1)[:k].mean()
        return -nearest


def block_means(images: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Return the mean of each block of pixels.

    Args:
        images: ``[N, H, W, C]``.
        side: Blocks along each side; as many as there are pixels where there are fewer.

    Returns:
        ``[N, side * side * C]`` in 8-bit levels.

    Example:
        >>> block_means(np.array([[[[0], [2]], [[4], [6]]]], dtype=np.uint8), 1)
        array([[3.]])
    """
    means = images.astype(np.float32)
    for axis in (1, 2):
        length = images.shape[axis]
        parts = min(side, length)
        edges = np.arange(parts) * length // parts
        sizes = np.diff(edges, append=length)
        shape = [-1 if number == axis else 1 for number in range(4)]
        means = np.add.reduceat(means, edges, axis=axis) / sizes.reshape(shape)
    return np.asarray(means.reshape(len(images), -1), dtype=np.float64)
