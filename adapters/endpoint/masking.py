"""Stars in the place of a secret that a server repeats, in whatever form it does.

A text is compared without letter case and without all that is neither letter nor digit, after each
way to escape it is undone: what escaping, quoting and breaking lines add is gone then, and so is
what tells the two alphabets of base64 (RFC 4648, sections 4 and 5) apart. Where this finds a secret
that cannot be pointed at, all of the text is masked. What somebody disguises on purpose, such as
backwards, is not found: whoever does that has the secret already.
"""

import base64
import binascii
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

MASK = "***"
MAX_CHARACTERS = 1 << 18
"""Of one text; nobody reads a longer one, so that it is told by its length only."""
MIN_CHARACTERS = 6
"""Letters and digits of a secret that is found in any form and within words. A shorter one would
be found by chance, also in what Kinprint says itself: it is masked where it stands alone."""
_MAX_LAYERS = 8
"""Of escaping; what has more is masked unseen."""

_ESCAPING = re.compile(r"[%&\\]")
_BACKSLASHED = re.compile(r"""\\{1,8}(?:u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|(["'/])|[bfnrt])""")
_WORD = re.compile(r"""[^\s"'<>(){}\[\],]+""")
_LOWER = bytes(range(128)).lower().ljust(256, b"\0")
_NOISE = bytes(code for code in range(128) if not chr(code).isalnum())


@dataclass(frozen=True)
class _Forms:
    """How secrets look."""

    squeezed: tuple[bytes, ...]
    """Lower-case letters and digits only, as they are and in base64."""
    alone: re.Pattern[str] | None
    """Those that are too short for that, as words."""
    exact: re.Pattern[str]
    """All of them, as they are."""


def masked(text: str, secrets: tuple[str, ...]) -> str:
    r"""Return a text with ``***`` in the place of secrets.

    Args:
        text: From a server, not cut: half a secret is not found.
        secrets: Printable ASCII. What stands after the last blank of one (``Bearer ...``), and what
            one says in base64 (``name:password``), is secret, too.

    Example:
        >>> masked("no key SK-L1VE/01 (sk-l1ve%2F01, sk-l1ve\\/01)", ("sk-l1ve/01",))
        'no key *** (***, ***)'
    """
    if len(text) > MAX_CHARACTERS:
        return f"({len(text)} characters)"
    forms = _forms(secrets)
    if not _holds(text, forms):
        return text
    text = forms.exact.sub(MASK, text)
    text = _WORD.sub(lambda word: MASK if _holds(word[0], forms) else word[0], text)
    return MASK if _holds(text, forms) else text


def _holds(text: str, forms: _Forms) -> bool:
    """Whether a secret is in a text, however it is escaped."""
    text = text.replace("\0", "")  # of UTF-16, which was read as bytes
    if _found(text, forms):
        return True
    for _ in range(_MAX_LAYERS):
        if not _ESCAPING.search(text):  # nearly always
            return False
        before = text
        for undo in (_without_backslashes, unquote, html.unescape):
            if (undone := undo(text)) != text:
                text = undone
                if _found(text, forms):
                    return True
        if text == before:
            return False
    return True


def _found(text: str, forms: _Forms) -> bool:
    squeezed = _squeezed(text)
    if any(form in squeezed for form in forms.squeezed):
        return True
    return forms.alone is not None and forms.alone.search(text) is not None


def _squeezed(text: str) -> bytes:
    """Return the letters and digits of a text, in lower case."""
    return text.encode("ascii", "ignore").translate(_LOWER, _NOISE)


def _without_backslashes(text: str) -> str:
    """Return a text as JSON, JavaScript and Python read what they wrote."""

    def undone(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else found[3] or " "

    return _BACKSLASHED.sub(undone, text)


@lru_cache(maxsize=64)
def _forms(secrets: tuple[str, ...]) -> _Forms:
    values = {value for secret in secrets for value in _values(secret)} - {""}
    long = {value for value in values if len(_squeezed(value)) >= MIN_CHARACTERS}
    squeezed = {_squeezed(form) for value in long for form in (value, *_base64(value))}
    short = [_alone(value) for value in sorted(values - long)]
    # The longest first, so that nothing of one that holds another remains.
    exact = [*map(re.escape, sorted(long, key=len, reverse=True)), *short]
    return _Forms(
        squeezed=tuple(sorted(form for form in squeezed if len(form) >= MIN_CHARACTERS)),
        alone=re.compile("|".join(short), re.IGNORECASE) if short else None,
        exact=re.compile("|".join(exact) or r"(?!)", re.IGNORECASE),
    )


def _values(secret: str) -> Iterator[str]:
    yield secret
    yield secret.split(" ")[-1]
    try:
        told = base64.b64decode(secret.split(" ")[-1], validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return
    if ":" in told and told.isprintable():
        yield told
        yield told.partition(":")[2]


def _base64(value: str) -> Iterator[str]:
    """Return what of a value's base64 is the same whatever stands before and after it."""
    for spelling in {value, value.lower(), value.upper()}:
        data = spelling.encode()
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + data).decode()
            first = -(-8 * before // 6)
            yield encoded[first : 8 * (before + len(data)) // 6]


def _alone(value: str) -> str:
    """Return a pattern of a value that is no part of a longer word."""
    start = r"(?<![0-9A-Za-z])" if value[0].isalnum() else ""
    end = r"(?![0-9A-Za-z])" if value[-1].isalnum() else ""
    return f"{start}{re.escape(value)}{end}"
