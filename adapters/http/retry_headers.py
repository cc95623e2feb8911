"""How long a server asks to be left alone, read from the headers of its answer.

``Retry-After`` (RFC 9110, section 10.2.3), ``RateLimit`` and ``RateLimit-Policy``
(draft-ietf-httpapi-ratelimit-headers, the current form and the older ``limit=..., remaining=...,
reset=...``), ``RateLimit-Remaining`` and ``RateLimit-Reset`` of its first drafts, and the same with
``X-`` as many vendors write them. Fractions, units and a field that comes twice are understood; a
``Retry-After`` that is not means a pause, too, and a careful one. The rest counts as not said.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MIN_EPOCH_S = 1e9
"""A reset this large is a time, not a delay (2001; a delay would be 31 years)."""
_MIN_EPOCH_MS = 1e12
UNREADABLE_PAUSE_S = 15.0
"""Pause where a server asks for one in words that nobody understands, seconds."""
_SECONDS = re.compile(r"(\d+(?:\.\d*)?)\s*(?:s|sec|secs|seconds?)?$", re.IGNORECASE)
_LONGEST_S = 999_999_999.0
"""31 years, which is long enough to be refused."""
_MAX_CHARACTERS = 1000
"""Of one field; reading takes up to the square of its length."""
_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER = re.compile(r"(?:^|[;,\s])\s*(limit|remaining|reset|r|t|q|w)\s*=\s*([0-9.]+)")
_NAME = re.compile(r'^\s*"((?:[^"\\]|\\.)*)"')
_SPLIT_FIELDS = (
    ("RateLimit-Remaining", "RateLimit-Reset"),
    ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
    ("X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Read when a server that said "later" wants to be asked again.

    Args:
        headers: Of the answer, names without case. A date counts from the server's own ``Date``,
            so that a wrong clock on either side does no harm.

    Returns:
        Seconds, at least 0, or None where it does not say. ``Retry-After`` counts before the
        others.

    Example:
        >>> seconds_to_wait({"Retry-After": "7"})
        7.0
        >>> [seconds_to_wait({"Retry-After": text}) for text in ("2.5", "5, 5", "5s", "soon")]
        [2.5, 5.0, 5.0, 15.0]
        >>> seconds_to_wait({"RateLimit": '"api";r=0;t=55'})
        55.0
    """
    told = _retry_after(headers)
    if told is None:
        told = _quota_pause(headers, is_refused=True)
    if told is None and headers.get("Retry-After", "").strip():
        return UNREADABLE_PAUSE_S
    return told


def seconds_until_quota(headers: Mapping[str, str]) -> float | None:
    """Read from an answer that the quota is used up with it.

    Args:
        headers: Of an answer with a status of success.

    Returns:
        Seconds until there is some again, or None where there still is, or nothing is said.

    Example:
        >>> seconds_until_quota({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3"})
        3.0
        >>> seconds_until_quota({"RateLimit": '"api";r=12;t=55'}) is None
        True
    """
    # Looked at after every answer, so that the usual one, which says nothing, costs little.
    if not any("limit" in name.lower() for name in headers):  # nearly always
        return None
    return _quota_pause(headers, is_refused=False)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = _field(headers, "Retry-After").strip()
    if not value:
        return None
    # Before a date is taken apart at its comma.
    then = _date(value)
    if then is not None:
        return max(0.0, (then - _server_time(headers)).total_seconds())
    # A field that proxies have added to stands there several times: the longest pause serves all.
    told = [_SECONDS.match(part.strip()) for part in value.split(",") if part.strip()]
    pauses = [min(float(one[1][:40]), _LONGEST_S) for one in told if one is not None]
    return max(pauses, default=None)


def _quota_pause(headers: Mapping[str, str], *, is_refused: bool) -> float | None:
    """Return the longest pause among the quotas that are used up.

    A server that refuses has used one up, even where it names only when that ends.
    """
    windows = _windows(_field(headers, "RateLimit-Policy"))
    pauses: list[float] = []
    field = _field(headers, "RateLimit")
    # The older form is one quota whose parts stand between commas.
    items = [field] if "remaining" in field or "reset" in field else _ITEM.findall(field)
    for item in items:
        told = _parameters(item)
        left, reset = told.get("r", told.get("remaining")), told.get("t", told.get("reset"))
        if reset is None and left == 0:
            reset = windows.get(_name(item))
        if reset is not None and (left == 0 or (left is None and is_refused)):
            pauses.append(_delay(reset, headers))
    for left_field, reset_field in _SPLIT_FIELDS:
        left, reset = (_number(_field(headers, name)) for name in (left_field, reset_field))
        if reset is not None and (left == 0 or (left is None and is_refused)):
            pauses.append(_delay(reset, headers))
    return max(pauses, default=None)


def _windows(policy: str) -> dict[str, float]:
    """Return the seconds of each named quota's window."""
    return {
        _name(item): told["w"]
        for item in _ITEM.findall(policy)
        if "w" in (told := _parameters(item))
    }


def _parameters(item: str) -> dict[str, float]:
    found = {name: _number(value) for name, value in _PARAMETER.findall(item)}
    return {name: value for name, value in found.items() if value is not None}


def _name(item: str) -> str:
    named = _NAME.match(item)
    return named[1] if named else item.split(";", 1)[0].strip()


def _delay(reset: float, headers: Mapping[str, str]) -> float:
    """Return a reset in seconds from now; some vendors give it as a Unix time."""
    if reset < _MIN_EPOCH_S:
        return reset
    epoch_s = reset / 1000 if reset >= _MIN_EPOCH_MS else reset
    return max(0.0, epoch_s - _server_time(headers).timestamp())


def _field(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    return value if len(value) <= _MAX_CHARACTERS else ""


def _number(text: str) -> float | None:
    try:
        value = float(text.strip()[:20])
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _server_time(headers: Mapping[str, str]) -> datetime:
    return _date(_field(headers, "Date")) or datetime.now(UTC)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
