"""Does a server that fails one image answer others? Only then is it the image that it refuses.

A vendor that is down fails every image, and the audit can be resumed; one that fails a certain
image, whatever is tried, would end the audit there for good. The two are told apart by an image
that the vendor answered before, or a grey one where there is none yet.
"""

import threading

import numpy as np
from numpy.typing import NDArray

GREY = 128


class ImageRefusedError(Exception):
    """The server fails this image and answers others."""


class Witness:
    """The newest image that was answered; several threads note and ask."""

    def __init__(self) -> None:
        """Know none yet."""
        self._lock = threading.Lock()
        self._image: NDArray[np.uint8] | None = None

    @property
    def is_known(self) -> bool:
        """Whether an image was answered with a class."""
        with self._lock:
            return self._image is not None

    def note(self, images: NDArray[np.uint8]) -> None:
        """Note images ``[N, H, W, C]`` that were answered with a class."""
        if len(images):
            with self._lock:
                self._image = images[:1]

    def beside(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image to ask in the place of others, ``[1, H, W, C]``."""
        with self._lock:
            known = self._image
        # What failed may itself have been answered a moment ago, in a larger batch.
        if known is None or (len(images) == 1 and np.array_equal(known, images)):
            return np.full_like(images[:1], GREY)
        return known
