"""When to ask again: after the pause that the server wants, else with growing random pauses."""

import random
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_any
from tenacity.stop import stop_base
from tenacity.wait import wait_exponential

from adapters.endpoint.wire_format import AskAgainError
from adapters.http.circuit_breaker import CircuitBreaker
from adapters.http.stop_signal import EndOfAsking
from adapters.http.witness import ImageRefusedError

Answer = TypeVar("Answer")

MAX_RETRY_AFTER_S = 120.0
"""A server that wants a longer pause ends the audit, which can be resumed."""

FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 30.0
JITTER_S = 0.25
"""Added at random to a pause that the server wants, so that not all threads end it together."""

_exponential = wait_exponential(multiplier=FIRST_BACK_OFF_S, max=MAX_BACK_OFF_S)


def ask_until_answered(
    attempt: Callable[[], Answer],
    *,
    retries: int,
    end: EndOfAsking,
    breaker: CircuitBreaker,
    answers_others: Callable[[], bool],
) -> Answer:
    """Call ``attempt`` until it returns, at most ``retries + 1`` times.

    Args:
        attempt: Sends one request.
        retries: Attempts after the first one.
        end: Ends waiting and asking.
        breaker: Told of every failure and answer; when one request is given up, all are.
        answers_others: Asks another image. If that is answered, only this request is given up.

    Returns:
        What ``attempt`` returned.

    Raises:
        ImageRefusedError: It is given up, and others are answered.
        SuspectThrottledError: The last answer was "later", or the suspect has begun to fail.
        SuspectUnreachableError: No attempt ever brought a usable answer.
        SuspectError: Stopped, or ``attempt`` raised one (which is not asked again).
    """
    number = 0

    def numbered() -> Answer:
        nonlocal number
        end.check()
        number += 1
        try:
            answer = attempt()
        except AskAgainError as error:
            if breaker.failed():
                # Several images may fail side by side, each of them for what it is.
                end_unless_alone(error, breaker.words)
            raise
        breaker.answered()
        return answer

    def end_unless_alone(error: AskAgainError, tries: str) -> None:
        if not error.is_throttled and not end.is_set and answers_others():
            breaker.answered()
            raise ImageRefusedError(error.reason) from error
        # One request that is given up ends all: the others would only find out the same.
        if not end.is_set:
            end.set(breaker.final(error, tries))

    first: AskAgainError | None = None

    def once_more() -> Answer:
        nonlocal first
        if first is not None:  # what tenacity calls the first attempt is made already
            error, first = first, None
            raise error
        return numbered()

    # The usual request is answered at once, and pays nothing for all that could happen otherwise.
    try:
        return numbered()
    except AskAgainError as error:
        first = error
    retrying = Retrying(
        stop=stop_any(stop_after_attempt(retries + 1), _Ended(end), _AsksTooMuch()),
        wait=_wait,
        retry=retry_if_exception_type(AskAgainError),
        sleep=end.wait,
        reraise=True,
    )
    try:
        return retrying(once_more)
    except AskAgainError as error:
        end_unless_alone(error, "1 attempt" if number == 1 else f"{number} attempts")
        end.check()
        raise AssertionError("an end that is set raises") from error


def _wait(state: RetryCallState) -> float:
    """Return seconds until the next attempt: as the server wants, or half to all of a back-off."""
    retry_after_s = _error(state).retry_after_s
    if retry_after_s is not None:
        return retry_after_s + random.uniform(0, JITTER_S)
    # Threads that failed together must not come back together.
    return _exponential(state) * random.uniform(0.5, 1)


class _Ended(stop_base):
    """Stop when asking has ended."""

    def __init__(self, end: EndOfAsking) -> None:
        self._end = end

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._end.is_set


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
