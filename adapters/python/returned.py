"""What a function returned about N images, checked: labels, or rows of scores.

Runs beside the function and knows no class of the bundle.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.class_map import Label
from adapters.suspect import SuspectError

MAX_VALUES = 1 << 24
"""Of one answer; more is none of a classifier."""


@dataclass(frozen=True, kw_only=True)
class Returned:
    """The answer to N images: one of the two."""

    labels: tuple[Label, ...] | None = None
    """A number, a name or None (no class) for each image."""
    scores: tuple[tuple[float, ...], ...] | None = None
    """A row for each image."""


def read_returned(value: Any, num_images: int) -> Returned:
    """Read what a function returned.

    Args:
        value: A list, or an array of NumPy or of a library that turns into one.
        num_images: N that were asked.

    Raises:
        SuspectError: It is neither N labels nor N rows of finite numbers.

    Example:
        >>> read_returned(["cat", None], 2).labels
        ('cat', None)
        >>> read_returned(np.array([[0.25, 0.75]]), 1).scores
        ((0.25, 0.75),)
    """
    if isinstance(value, list | tuple) and _are_labels(value):
        return Returned(labels=_counted(tuple(_label(one) for one in value), num_images))
    array = _array(value, num_images)
    if array.ndim == 1 and array.dtype.kind in "iuU":
        return Returned(labels=_counted(tuple(array.tolist()), num_images))
    if array.ndim == 1 and array.dtype.kind == "O" and _are_labels(array.tolist()):
        return Returned(labels=_counted(tuple(_label(one) for one in array), num_images))
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise _unexpected(num_images, f"an array of {array.dtype} with shape {array.shape}")
    if len(array) != num_images:
        raise _unexpected(num_images, f"{len(array)} rows")
    if array.size > MAX_VALUES:
        raise _unexpected(num_images, f"{array.size} numbers")
    rows = array.astype(np.float64)
    if not np.isfinite(rows).all():
        image, column = (int(index) for index in np.argwhere(~np.isfinite(rows))[0])
        raise SuspectError(
            f"function: expected finite scores, got {rows[image, column]} for class {column} of "
            f"image {image}"
        )
    return Returned(scores=tuple(tuple(row) for row in rows.tolist()))


def _are_labels(values: Sequence[Any]) -> bool:
    return any(isinstance(one, str) or one is None for one in values)


def _label(value: Any) -> Label:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    try:
        return operator.index(value)
    except TypeError:
        raise SuspectError(
            f"function: expected a number, a name or None for each image, got a "
            f"{type(value).__name__} among them"
        ) from None


def _counted(labels: tuple[Label, ...], num_images: int) -> tuple[Label, ...]:
    if len(labels) != num_images:
        raise _unexpected(num_images, f"{len(labels)} labels")
    return labels


def _array(value: Any, num_images: int) -> np.ndarray[Any, np.dtype[Any]]:
    if value is None or isinstance(value, str | bytes | dict):
        raise _unexpected(num_images, "nothing" if value is None else f"a {type(value).__name__}")
    try:
        return np.asarray(value)
    except Exception as error:  # a foreign type's own; on a device, with a gradient, uneven rows
        raise _unexpected(
            num_images, f"a {type(value).__name__} that makes no array ({error})"
        ) from None


def _unexpected(num_images: int, found: str) -> SuspectError:
    images = "1 image" if num_images == 1 else f"{num_images} images"
    return SuspectError(
        f"function: expected a label or a row of scores for each of {images}, got {found}"
    )
