"""Times that stand in signed things: they must exist, and must have been.

A time is somebody's word. What no clock can have shown is refused when it is read, whoever signed
it: a day that no calendar has, and a day after today's.
"""

import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_CLOCK_LEAD_S = 86_400.0
"""By so much another machine's clock may be ahead of this one's."""


def unix_time(text: str) -> float:
    """Return the Unix time of an ISO 8601 time with its zone.

    Raises:
        ValueError: There is no such day or time, or it names no zone: then it would be another
            moment on each reader's machine.

    Example:
        >>> unix_time("1970-01-02T00:00:00Z")
        86400.0
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment.timestamp()


def is_ahead(unix: float) -> bool:
    """Return whether no clock can have shown a time yet."""
    return unix > time.time() + MAX_CLOCK_LEAD_S


def _has_been(text: str) -> str:
    try:
        unix = unix_time(text)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError(
            "time", "expected a time that exists, got {text}", {"text": text}
        ) from error
    if is_ahead(unix):
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        raise PydanticCustomError(
            "time",
            "expected a time that has been, got {text} on {today}; this machine's clock is wrong, "
            "or the one that wrote it",
            {"text": text, "today": today},
        )
    return text


BundleTime = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"),
    AfterValidator(_has_been),
]
"""UTC in seconds."""
RecordTime = Annotated[
    str,
    Field(pattern=r"^(19[7-9]\d|2\d{3})-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"),
    AfterValidator(_has_been),
]
"""UTC in microseconds, of a year that a clock may show."""
