"""Writes JSON bodies with tensors in them, whose few distinct numbers become text only once."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = "\0a tensor goes here\0"
"""Stands in the document for a text that is JSON already."""
_WRITTEN_MARK = json.dumps(_MARK)


@dataclass(frozen=True)
class JsonText:
    """A part of a document that is JSON text already."""

    text: str


def dumps(document: Any) -> bytes:
    """Return the bytes of a JSON document, without blanks.

    Args:
        document: JSON values and `JsonText`.

    Example:
        >>> dumps({"a": JsonText("[1.5]"), "b": None})
        b'{"a":[1.5],"b":null}'
    """
    texts: list[str] = []

    def marked(value: Any) -> str:
        if not isinstance(value, JsonText):
            raise TypeError(f"expected a JSON value, got {type(value).__name__}")
        texts.append(value.text)
        return _MARK

    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False, default=marked)
    parts = body.split(_WRITTEN_MARK)
    assert len(parts) == len(texts) + 1
    told = [piece for pair in zip(parts, [*texts, ""], strict=True) for piece in pair]
    return "".join(told).encode()


def nested_numbers(values: NDArray[Any]) -> JsonText:
    """Return numbers as nested JSON lists, one level per axis.

    Each number is the shortest decimal that gives the same number of its type again; pixels have
    few distinct values, so each is written once and looked up.

    Example:
        >>> nested_numbers(np.array([[0.1, 2], [3, -1]], dtype=np.float32)).text
        '[[0.1,2.0],[3.0,-1.0]]'
    """
    distinct, places = np.unique(values, return_inverse=True)
    table = np.array([_number(value) for value in distinct], dtype=object)
    texts: list[str] = table[places.ravel()].tolist()
    for size in reversed(values.shape):
        # [..., size] -> [...]
        texts = [f"[{','.join(texts[i : i + size])}]" for i in range(0, len(texts), size)]
    (text,) = texts
    return JsonText(text)


def _number(value: Any) -> str:
    text = str(value)
    # Readers may go through float64, so make sure that this gives the same number, too.
    is_same = isinstance(value, np.integer) or value.dtype.type(float(text)) == value
    return text if is_same else repr(float(value))
