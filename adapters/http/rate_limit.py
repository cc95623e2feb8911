"""Spaces the requests of several threads and processes; one "come back later" speaks for all.

The pace is kept in memory, or in a `SharedPace` where a limit is set: two audits of one vendor
with one key share its quota.
"""

import threading
import time
from typing import Protocol

from adapters.http.stop_signal import EndOfAsking


class Pace(Protocol):
    """When the last request started, and until when none may."""

    def start(self, now: float, interval_s: float) -> float:
        """Take the turn if it has come.

        Args:
            now: `time.monotonic`, seconds.
            interval_s: Seconds between two starts.

        Returns:
            0 if the turn is taken, else seconds until it may come.
        """
        ...

    def hold(self, until: float) -> None:
        """Let nobody start before a time of `time.monotonic`."""
        ...


class OwnPace:
    """The pace of one endpoint within one process."""

    def __init__(self) -> None:
        self._next_start, self._held_until = 0.0, 0.0

    def start(self, now: float, interval_s: float) -> float:
        """See `Pace.start`."""
        turn = max(self._next_start, self._held_until)
        if now < turn:
            return turn - now
        self._next_start = now + interval_s
        return 0.0

    def hold(self, until: float) -> None:
        """See `Pace.hold`."""
        # A shorter pause, said to another thread, never ends a longer one.
        self._held_until = max(self._held_until, until)


class RateLimiter:
    """Hands out turns; waiting ends at once when asking ends."""

    def __init__(
        self, requests_per_second: float | None, end: EndOfAsking, pace: Pace | None = None
    ) -> None:
        """Start with the pace's past.

        Args:
            requests_per_second: Upper limit; None for none.
            end: Ends all waiting.
            pace: Where turns are kept; an empty `OwnPace` where absent.
        """
        self._interval_s = 1 / requests_per_second if requests_per_second else 0.0
        self._end = end
        self._pace = pace or OwnPace()
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Wait for this thread's turn.

        Raises:
            SuspectError: Asking has ended.
        """
        while True:
            self._end.check()
            with self._lock:
                delay_s = self._pace.start(time.monotonic(), self._interval_s)
            if delay_s <= 0:
                return
            # Nothing is reserved while it waits: who ends meanwhile keeps nobody else waiting.
            self._end.wait(delay_s)

    def hold(self, delay_s: float) -> None:
        """Let no thread start for so many seconds from now."""
        with self._lock:
            self._pace.hold(time.monotonic() + delay_s)
