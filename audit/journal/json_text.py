"""Texts by name as columns hold them: JSON with sorted keys, so that what is equal looks equal."""

import json
from collections.abc import Mapping

from audit.errors import JournalError

_ENCODER = json.JSONEncoder(sort_keys=True)


def encoded(texts: Mapping[str, str]) -> str:
    """Return what a column holds."""
    return _ENCODER.encode(dict(texts))


def decoded(column: str, audit: str) -> dict[str, str]:
    """Return the texts of an audit's column.

    Raises:
        JournalError: Something else has changed it.
    """
    try:
        return dict(json.loads(column))
    except (TypeError, ValueError) as error:
        raise JournalError(f"journal: audit {audit} cannot be read ({error})") from error
