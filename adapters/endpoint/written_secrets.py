"""Secrets that somebody has written into an endpoint file itself, where a request's body has them.

They belong into a variable or a private file. Where an API takes its key in the body only, they are
found by the names of their fields and by how keys of known vendors begin, masked like all others,
and their author is told.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

MIN_CHARACTERS = 6
"""Of a value that is taken for a secret."""
_FIELD = re.compile(
    r"(api|access|secret|private|auth|subscription)[-_]?key|passw|secret|credential|authorization"
    r"|(^|[-_])(key|token)$|(api|access|auth|bearer)[-_]?token",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"(sk-|sk_live_|rk_live_|gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-|AKIA|ASIA|AIza|ya29\."
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ|(Bearer|Basic|Token) )[A-Za-z0-9+/_.~=-]{8,}"
)
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}")


def is_secret_field(name: str) -> bool:
    """Return whether a field of a body or form is likely to hold a secret.

    Example:
        >>> [is_secret_field(name) for name in ("api_key", "X-Token", "max_tokens", "keyword")]
        [True, True, False, False]
    """
    return bool(_FIELD.search(name))


def written_secrets(value: Any, place: str) -> dict[str, str]:
    """Return what looks like a secret in a body.

    Args:
        value: JSON value, or the text of one.
        place: Of it, such as ``request.template``.

    Returns:
        The secret by the place of its field.
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):  # a text of its own
            value = json.loads(value)
    return dict(_found(value, place, ""))


def _found(value: Any, place: str, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _found(item, f"{place}.{key}", str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _found(item, place, name)
    elif isinstance(value, str) and not _PLACEHOLDER.search(value):
        is_long = len(value) >= MIN_CHARACTERS and value.isascii() and value.isprintable()
        if is_long and (is_secret_field(name) or _VALUE.match(value)):
            yield place, value
