"""What a verification found out: one line per thing that was looked at.

Never confuse *it is wrong* with *it could not be checked*: the first refuses a record, the second
is told to whoever reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from audit.errors import AuditError


class Status(StrEnum):
    """What came of one check."""

    HELD = "held"
    FAILED = "failed"
    OPEN = "not checked"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    text: str
    """What was found, in a sentence that stands alone."""


def held(name: str, text: str) -> Check:
    """Return a check that held."""
    return Check(name=name, status=Status.HELD, text=text)


def failed(name: str, text: str) -> Check:
    """Return a check that failed."""
    return Check(name=name, status=Status.FAILED, text=text)


def unchecked(name: str, text: str) -> Check:
    """Return a check that could not be made."""
    return Check(name=name, status=Status.OPEN, text=text)


def attempt(name: str, check: Callable[[], str]) -> Check:
    """Make a check that raises where it fails and returns what it found where it holds."""
    try:
        return held(name, check())
    except AuditError as error:
        return failed(name, str(error))
