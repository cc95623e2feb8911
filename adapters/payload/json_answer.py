"""Reads JSON out of an answer by looking at the bytes, since servers mislabel their answers."""

import json
import re
from typing import Any

from adapters.endpoint.masking import MAX_CHARACTERS
from adapters.endpoint.wire_format import AskAgainError
from adapters.printable import excerpt, shortened
from adapters.suspect import SuspectError, SuspectUnreachableError

_POINT_BEHIND_EXPONENT = re.compile(r"(\d[eE][-+]?\d+)\.0(?=\s*[,\]}])")
_BEHIND = "Extra data"
"""What Python's reader says of a value that ends before the text does."""
_SHOWN_CHARACTERS = 60
"""Before a fault and from it on; as Python quotes them, which drives no terminal."""
_MAX_SHOWN_START = MAX_CHARACTERS // 2
"""Beyond it nobody may have looked for secrets."""
_CLOSING = {"{": "}", "[": "]", '"': '"'}


def read_json(body: bytes) -> Any:
    """Return the JSON value that an answer holds, whatever its Content-Type says.

    NULs behind it, which servers written in C leave, do not count.

    Raises:
        AskAgainError: Empty, or it begins like JSON and breaks off.
        SuspectUnreachableError: A web page: something else than the classifier answers.
        SuspectError: Whole, but not JSON, or with something behind it.
    """
    text = body.strip().removeprefix(b"\xef\xbb\xbf")
    if not text:
        raise AskAgainError("an empty body")
    if text.startswith(b"<"):
        raise SuspectUnreachableError(
            f"url: expected JSON, got a web page or XML ({excerpt(body)!r}); check the address, "
            "and whether something in between asks for a login"
        )
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        if error.msg != _BEHIND and _breaks_off(error):
            raise AskAgainError(f"JSON that breaks off after {len(body)} bytes") from error
        before = error.doc[: error.pos].encode(json.detect_encoding(text), "surrogatepass")
        alone = " alone" if error.msg == _BEHIND else ""
        raise SuspectError(
            f"answer: expected JSON{alone}, got {_fault(body, text, len(before))}"
        ) from error
    except UnicodeDecodeError as error:
        raise SuspectError(
            f"answer: expected JSON, got {_fault(body, text, error.start)}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SuspectError(f"answer: expected JSON, got {excerpt(body)!r}") from error


def _decoded(text: bytes) -> Any:
    decoded = text.decode(json.detect_encoding(text), "surrogatepass").rstrip("\0 \t\r\n")
    try:
        return _DECODER.decode(decoded)
    except json.JSONDecodeError:
        # TensorFlow Serving before 1.10 writes 6e-07.0. With blanks for it, places stay.
        return _DECODER.decode(_POINT_BEHIND_EXPONENT.sub(r"\1  ", decoded))


def _fault(body: bytes, text: bytes, start: int) -> str:
    """Return what stands at a place of an answer, and where that is.

    Args:
        body: As it came, or with stars for secrets: the place is one of this.
        text: What is read of it.
        start: Of the fault, bytes of ``text``.
    """
    num_skipped, encoding = body.index(text), json.detect_encoding(text)
    blanks = body[:num_skipped].decode("utf-8-sig", "replace")
    read = text[:start].decode(encoding, "surrogatepass")
    before = blanks + read
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    place = f"at byte {num_skipped + start + 1} (line {line}, column {column})"
    if start > _MAX_SHOWN_START:
        return f"something else {place}"
    here = text.decode(encoding, "replace")[len(read) :]
    told = f"{shortened(here, _SHOWN_CHARACTERS)!r} {place}"
    return f"{told}, after {_end(before)!r}" if before.strip() else told


def _end(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"...{text[3 - _SHOWN_CHARACTERS :]}"


def _breaks_off(error: json.JSONDecodeError) -> bool:
    """Tell whether the value that the text begins with is never closed."""
    text = error.doc.lstrip()
    closing = _CLOSING.get(text[:1])
    return closing is not None and (not text.endswith(closing) or error.pos >= len(error.doc))


def _whole_number(text: str) -> int:
    """Refuse integers that no class, count or score has, and that floats cannot hold."""
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError(f"an integer of {len(text)} digits")
    return number


_DECODER = json.JSONDecoder(parse_int=_whole_number)
"""Takes NaN and Infinity, which many servers write: whoever needs such a number refuses it."""
