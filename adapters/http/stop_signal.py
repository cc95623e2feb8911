"""One signal that ends all waiting of an endpoint, and what everybody who waits is told."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from adapters.suspect import SuspectError

STOPPED = "endpoint: expected an answer, got stopped before it"


class EndOfAsking:
    """Set once, by whoever ends it first; the first reason stays."""

    def __init__(self, aside: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """Go on.

        Args:
            aside: Returns what a thread is in while it waits (`AttemptObserver.aside`).
        """
        self._aside = aside
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._reason: tuple[type[SuspectError], str] = (SuspectError, STOPPED)

    @property
    def is_set(self) -> bool:
        """Whether asking has ended."""
        return self._event.is_set()

    def set(self, error: SuspectError | None = None) -> None:
        """End it.

        Args:
            error: What everybody is told; that it was stopped where absent.
        """
        with self._lock:
            # What comes after the first reason is a consequence of it.
            if not self._event.is_set() and error is not None:
                self._reason = (type(error), str(error))
            self._event.set()

    def wait(self, delay_s: float) -> None:
        """Wait so long, or until it is set."""
        with self._aside():
            self._event.wait(delay_s)

    def check(self) -> None:
        """Raise if asking has ended.

        Raises:
            SuspectError: The reason, a new exception for every thread.
        """
        if self._event.is_set():
            # One exception raised by several threads would collect the tracebacks of all of them.
            kind, message = self._reason
            raise kind(message)
