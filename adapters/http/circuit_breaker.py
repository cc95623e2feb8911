"""Says when a suspect fails again and again, whichever thread it fails, so that asking ends.

Retries are one request's patience; this is everybody's: with c requests in flight, a vendor that
is down is not asked c times as often before the audit stops.
"""

import math
import threading

from adapters.endpoint.wire_format import AskAgainError
from adapters.suspect import (
    SuspectError,
    SuspectFailingError,
    SuspectThrottledError,
    SuspectUnreachableError,
)


class CircuitBreaker:
    """Counts failures in a row over all threads; an answer starts the count again."""

    def __init__(self, max_failures: int, *, has_answered: bool = False) -> None:
        """Start closed.

        Args:
            max_failures: Failures in a row that end asking.
            has_answered: Whether the suspect answered before, perhaps another process.
        """
        self._max_failures = max_failures
        self._lock = threading.Lock()
        self._num_failures, self._has_answered = 0, has_answered

    def answered(self) -> None:
        """Note an answer."""
        with self._lock:
            self._num_failures, self._has_answered = 0, True

    @property
    def words(self) -> str:
        """Say how many are too many."""
        return f"{self._max_failures} failures in a row"

    def failed(self) -> bool:
        """Note an attempt without a usable answer; return whether it is one too many."""
        with self._lock:
            self._num_failures += 1
            return self._num_failures >= self._max_failures

    def final(self, error: AskAgainError, tries: str) -> SuspectError:
        """Return what to raise when nothing more is tried.

        Args:
            error: The last failure.
            tries: How often it was tried, in words.
        """
        message = f"url: expected an answer, got {error.reason} ({tries})"
        if error.is_throttled:
            if error.retry_after_s is not None:
                pause_s = math.ceil(error.retry_after_s)  # never earlier than it was told
                return SuspectThrottledError(f"{message}; resume in {pause_s} s or later")
            return SuspectThrottledError(f"{message}; resume later, or set requests_per_second")
        # What has answered is there: the audit can go on when it is back, and exits so.
        if self._has_answered:
            return SuspectFailingError(f"{message}; it answered before, so resume when it is back")
        return SuspectUnreachableError(f"{message}; check that the server is up, then resume")
