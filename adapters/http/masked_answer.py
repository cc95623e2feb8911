"""An answer read so that no error about it shows half a secret.

Whoever reads an answer quotes the beginning of what cannot be used, and knows no secret. Where a
server has repeated one, the end of the quotation may lie within it, and half a secret is none that
could be found and masked afterwards. So what is wrong with an answer is told of what the answer
would be without secrets; the answer itself is read as it came.
"""

from collections.abc import Callable
from typing import TypeVar

from adapters.endpoint.masking import MAX_CHARACTERS
from adapters.endpoint.wire_format import AskAgainError
from adapters.suspect import SuspectError

_Read = TypeVar("_Read")


def read_answer_body(
    body: bytes, read: Callable[[bytes], _Read], mask: Callable[[str], str]
) -> _Read:
    """Read an answer.

    Args:
        body: As it came.
        read: Reads it, and raises `AskAgainError` or a `SuspectError` where that is not possible.
        mask: Puts something else in the place of secrets.

    Raises:
        AskAgainError: As ``read`` does, without secrets.
        SuspectError: Likewise.
    """
    try:
        return read(body)
    except (AskAgainError, SuspectError) as error:
        masked = masked_body(body, mask)
        if masked == body:
            raise
        kind = type(error)
    try:
        read(masked)
    except kind as told:
        raise told from None
    except (AskAgainError, SuspectError):
        pass  # the stars have made something else of it
    found = f"{len(body)} bytes that hold the secret"
    if kind is AskAgainError:
        raise AskAgainError(found)
    raise kind(f"answer: expected one that can be read, got {found}")


def masked_body(body: bytes, mask: Callable[[str], str]) -> bytes:
    """Return an answer without secrets, as far as anybody quotes it; unchanged if it has none."""
    head = body[:MAX_CHARACTERS].decode("latin-1")  # any bytes, and the same ones again
    masked = mask(head)
    return body if masked == head else masked.encode("latin-1")
