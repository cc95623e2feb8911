"""When to ask again: Retry-After where the server says, exponential back-off where it does not."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_base

from adapters.rate_limit import STOPPED
from adapters.suspect import SuspectError, SuspectThrottledError, SuspectUnreachableError
from adapters.wire.protocol import AskAgainError

Answer = TypeVar("Answer")

MAX_RETRY_AFTER_S = 120.0
"""A server that wants a longer pause ends the audit, which can be resumed."""

FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 30.0
JITTER_S = 0.25

_back_off = wait_exponential(multiplier=FIRST_BACK_OFF_S, max=MAX_BACK_OFF_S)
_jitter = wait_random(0, JITTER_S)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks to be left alone.

    Args:
        headers: Of the answer. A date counts from the server's own ``Date``, so that a wrong
            clock on either side does no harm.

    Returns:
        Seconds, at least 0, or None where it does not say or is not understood.

    Source:
        RFC 9110, section 10.2.3.

    Example:
        >>> retry_after_seconds({"Retry-After": "7"})
        7.0
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    then = _date(value)
    if then is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def ask_until_answered(
    attempt: Callable[[], Answer], *, retries: int, stop: threading.Event
) -> tuple[Answer, int]:
    """Call ``attempt`` until it returns, at most ``retries + 1`` times.

    Args:
        attempt: Sends one request.
        retries: Attempts after the first one.
        stop: Ends waiting and asking.

    Returns:
        What ``attempt`` returned, and the number of attempts.

    Raises:
        SuspectThrottledError: The last answer was "later".
        SuspectUnreachableError: The last attempt brought no usable answer.
        SuspectError: Stopped, or ``attempt`` raised one (which is not asked again).
    """
    retrying = Retrying(
        stop=stop_any(stop_after_attempt(retries + 1), stop_when_event_set(stop), _AsksTooMuch()),
        wait=_wait,
        retry=retry_if_exception_type(AskAgainError),
        sleep=sleep_using_event(stop),
        reraise=True,
    )
    try:
        answer = retrying(attempt)
    except AskAgainError as error:
        if stop.is_set():
            raise SuspectError(STOPPED) from error
        raise _final(error, retrying.statistics["attempt_number"]) from error
    return answer, int(retrying.statistics["attempt_number"])


def _final(error: AskAgainError, attempts: int) -> SuspectError:
    """Return what to raise when nothing more is tried."""
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    message = f"url: expected an answer, got {error.reason} ({tries})"
    if not error.is_throttled:
        return SuspectUnreachableError(f"{message}; check that the server is up, then resume")
    if error.retry_after_s is not None:
        return SuspectThrottledError(f"{message}; resume in {error.retry_after_s:.0f} s or later")
    return SuspectThrottledError(f"{message}; resume later, or set requests_per_second")


def _wait(state: RetryCallState) -> float:
    """Return seconds until the next attempt."""
    error = _error(state)
    if error.retry_after_s is None:
        return _back_off(state) + _jitter(state)
    return error.retry_after_s + _jitter(state)


class _AsksTooMuch(stop_base):
    """Stop when the server wants a longer pause than an audit waits."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        retry_after_s = _error(retry_state).retry_after_s
        return retry_after_s is not None and retry_after_s > MAX_RETRY_AFTER_S


def _error(state: RetryCallState) -> AskAgainError:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, AskAgainError)
    return error


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
