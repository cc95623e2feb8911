"""Labelled images of the task that a file is asked about, and the names of its classes.

An auditor's bundle has them; with them, what a file's outputs hold is seen on natural images and
not only on made-up ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlImages:
    """What is known of a task before a file is asked about it."""

    images: NDArray[np.uint8]
    """``[C, H, W, channels]``, uint8."""
    labels: NDArray[np.int64]
    """Their true classes, ``[C]``."""
    class_names: tuple[str, ...]
    """By index."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return ``(H, W, channels)``."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Return K."""
        return len(self.class_names)
