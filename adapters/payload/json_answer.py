"""Reads JSON out of an answer by looking at the bytes, since servers mislabel their answers."""

import json
import re
from typing import Any

from adapters.endpoint.wire_format import AskAgainError
from adapters.printable import excerpt
from adapters.suspect import SuspectError, SuspectUnreachableError

_POINT_BEHIND_EXPONENT = re.compile(r"(\d[eE][-+]?\d+)\.0(?=\s*[,\]}])")
_BEHIND = "Extra data"
"""What Python's reader says of a value that ends before the text does."""
_CLOSING = {b"{": b"}", b"[": b"]", b'"': b'"'}


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
        decoded = text.decode(json.detect_encoding(text), "surrogatepass")
        return _DECODER.decode(decoded.rstrip("\0 \t\r\n"))
    except json.JSONDecodeError as error:
        # TensorFlow Serving before 1.10 writes 6e-07.0.
        mended = _POINT_BEHIND_EXPONENT.sub(r"\1", error.doc)
        if mended != error.doc:
            return read_json(mended.encode())
        if error.msg == _BEHIND:
            behind = error.doc[error.pos :]
            raise SuspectError(
                f"answer: expected JSON alone, got {excerpt(behind.encode())!r} behind it at "
                f"character {error.pos + 1}"
            ) from error
        if _breaks_off(text, error):
            raise AskAgainError(f"JSON that breaks off after {len(body)} bytes") from error
        raise SuspectError(f"answer: expected JSON, got {excerpt(body)!r}") from error
    except (ValueError, RecursionError) as error:
        raise SuspectError(f"answer: expected JSON, got {excerpt(body)!r}") from error


def _breaks_off(text: bytes, error: json.JSONDecodeError) -> bool:
    """Tell whether the value that the text begins with is never closed."""
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
