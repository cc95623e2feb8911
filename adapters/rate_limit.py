"""Spaces the requests of several threads, and lets one "come back later" speak for all."""

import threading
import time

from adapters.suspect import SuspectError

STOPPED = "endpoint: expected an answer, got stopped before it"


class RateLimiter:
    """Hands out starting times; waiting ends at once when the stop event is set."""

    def __init__(self, requests_per_second: float | None, stop: threading.Event) -> None:
        """Start with an empty past.

        Args:
            requests_per_second: Upper limit; None for none.
            stop: Ends all waiting.
        """
        self._interval_s = 1 / requests_per_second if requests_per_second else 0.0
        self._stop = stop
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._held_until = 0.0

    def acquire(self) -> None:
        """Wait for this thread's turn.

        Raises:
            SuspectError: The endpoint was stopped.
        """
        with self._lock:
            start = max(time.monotonic(), self._next_start)
            self._next_start = start + self._interval_s
        while not self._stop.is_set():
            delay_s = max(start, self._held_until) - time.monotonic()
            if delay_s <= 0:
                return
            self._stop.wait(delay_s)
        raise SuspectError(STOPPED)

    def hold(self, delay_s: float) -> None:
        """Let no thread start for so many seconds from now."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + delay_s)
