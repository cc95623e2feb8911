"""Canonical JSON (RFC 8785) and SHA-256, the two things that digests here are made of.

Whatever is hashed or signed goes through this file, so that equal values have equal bytes.
It must never accept two spellings of one value.
"""

import hashlib
import json

import numpy as np
import rfc8785
from numpy.typing import NDArray


class NotCanonicalError(ValueError):
    """The bytes are not the canonical JSON of any value, or the value has no canonical JSON."""


def canonical_bytes(value: object) -> bytes:
    """Return the RFC 8785 form of a JSON value: UTF-8, sorted keys, no spaces, shortest numbers.

    Args:
        value: None, bool, int, float, str, and lists, tuples and string-keyed dicts of them.

    Raises:
        NotCanonicalError: NaN, infinity, an integer beyond 2^53 - 1, or not a JSON value.

    Source:
        Rundgren, Jordan, Erdtman, JSON Canonicalization Scheme, RFC 8785, 2020.

    Example:
        >>> canonical_bytes({"b": 1.0, "a": [True, None]})
        b'{"a":[true,null],"b":1}'
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # its JSON type is not exported
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise NotCanonicalError(f"no canonical JSON: {error}") from error


def parse_canonical(data: bytes) -> object:
    """Parse JSON that must be in canonical form.

    Args:
        data: UTF-8 bytes.

    Raises:
        NotCanonicalError: No JSON, a key twice, or another spelling than the canonical one.
    """
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_pairs,
            parse_constant=_refuse_constant,
        )
    except NotCanonicalError:
        # It is a ValueError, too, and says more than "not JSON".
        raise
    except (ValueError, RecursionError) as error:
        raise NotCanonicalError(f"not JSON in UTF-8: {error}") from error
    # Whatever the parser is generous about (blanks, 1.0, escapes, order) comes out otherwise here.
    if canonical_bytes(value) != data:
        raise NotCanonicalError("JSON, but not in its canonical form (RFC 8785)")
    return value


def sha256_hex(data: bytes | memoryview) -> str:
    """Return SHA-256 in lower-case hex, 64 characters."""
    return hashlib.sha256(data).hexdigest()


def array_sha256(array: NDArray[np.generic]) -> str:
    """Return SHA-256 of an array's raw bytes: little endian, C order, no header.

    Example:
        >>> array_sha256(np.array([[1]], ">i2")) == sha256_hex(bytes([1, 0]))
        True
    """
    return sha256_hex(little_endian(array).data)


def little_endian(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the array in C order and little endian; itself if it is so already."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotCanonicalError("an object names the same key twice")
    return value


def _refuse_constant(name: str) -> object:
    raise NotCanonicalError(f"{name} is not JSON")
