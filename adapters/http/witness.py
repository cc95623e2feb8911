"""Does a server that fails one image answer others? Only then is it the image that it refuses.

A vendor that is down fails every image, and the audit can be resumed; an endpoint file that is
wrong makes no answer readable. An image that is failed for what it is, whatever is tried, would end
the audit there for good. They are told apart by an image that was answered with a class before.
Until there is one, others are asked, after all that is under way has come back: whichever answer is
the first, the same follows.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
from numpy.typing import NDArray

NUM_DIFFERENT = 3
"""Images none of which is answered before it is the endpoint that fails, and not they."""
GREY = 128


class ImageRefusedError(Exception):
    """The server fails this image and answers others."""


class Witness:
    """The newest image that was answered; several threads note and ask."""

    def __init__(
        self,
        others: Sequence[NDArray[np.uint8]] = (),
        aside: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Know none yet.

        Args:
            others: Images ``[1, H, W, C]`` to ask until one was answered; then comes a grey one.
            aside: Returns what a thread is in while it waits (`AttemptObserver.aside`).
        """
        self._others, self._aside = others, aside
        self._changed = threading.Condition()
        self._known: NDArray[np.uint8] | None = None
        self._failed: set[bytes] = set()
        self._num_asking = 0

    @property
    def is_known(self) -> bool:
        """Whether an image was answered with a class."""
        with self._changed:
            return self._known is not None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Say that this thread asks, until it has noted what was answered."""
        with self._changed:
            self._num_asking += 1
        try:
            yield
        finally:
            self._one_asks_no_more()

    def note(self, images: NDArray[np.uint8]) -> None:
        """Note images ``[N, H, W, C]`` that were answered with a class."""
        if len(images):
            with self._changed:
                self._known = images[:1]
                self._changed.notify_all()

    def beside(self, images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return images ``[1, H, W, C]`` to ask in the place of others until one is answered."""
        with self._changed:
            known = self._known
        # What failed may itself have been answered a moment ago, in a larger batch.
        if known is not None and not np.array_equal(known, images):
            return [known]
        return self._unlike(images)[: 1 if known is not None else NUM_DIFFERENT - 1]

    def speaks_for(
        self, images: NDArray[np.uint8], is_answered: Callable[[NDArray[np.uint8]], bool]
    ) -> bool:
        """Return whether another image is answered with a class.

        Where none was yet, this waits for the threads that are `asking`, and asks others then, one
        at a time, until `NUM_DIFFERENT` have failed.

        Args:
            images: ``[N, H, W, C]``, which failed.
            is_answered: Asks one, ``[1, H, W, C]``, and notes it if it gets a class.
        """
        if len(images) == 1:
            self._note_failed(images)
        while True:
            # Aside: those that are waited for may need what this thread holds.
            with self._aside(), self._changed:
                self._changed.wait_for(lambda: self._known is not None or not self._num_asking)
                if self._known is not None:
                    break
                left = [each for each in self._unlike(images) if each.tobytes() not in self._failed]
                if not left or len(self._failed) >= NUM_DIFFERENT:
                    return False
                self._num_asking += 1
            try:
                if is_answered(left[0]):
                    return True
                self._note_failed(left[0])
            finally:
                self._one_asks_no_more()
        return any(is_answered(other) for other in self.beside(images))

    def _unlike(self, images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        candidates = [*self._others, np.full_like(images[:1], GREY)]
        return [image for image in candidates if not np.array_equal(image, images)]

    def _note_failed(self, image: NDArray[np.uint8]) -> None:
        with self._changed:
            if self._known is None:
                self._failed.add(image.tobytes())

    def _one_asks_no_more(self) -> None:
        with self._changed:
            self._num_asking -= 1
            self._changed.notify_all()
