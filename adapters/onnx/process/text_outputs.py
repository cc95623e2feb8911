"""Outputs that are texts or maps, as numbers: only those travel to the other process.

A text becomes its place in a table of all texts that there are, a map one column for each of its
keys. WinML and Custom Vision write maps from the class to its score, scikit-learn's converters do
so by ZipMap, and both write the class itself as a text.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.printable import printable

MAX_NAMES = 12_000
"""Different texts or keys; more are no classes."""
MAX_NAME_CHARACTERS = 250
"""Longer ones are cut: all of them together have to fit into one message."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """What an output says."""

    values: NDArray[np.float64]
    dtype: str
    names: tuple[str, ...] = ()


def as_numbers(values: NDArray[Any]) -> Numbers | None:
    """Return an output's values as float64, None if they are neither numbers nor texts nor maps.

    Args:
        values: ``[N, ...]``; maps are objects, ``[N]``.
    """
    if values.dtype.kind != "O":
        return Numbers(values=values.astype(np.float64), dtype=str(values.dtype))
    flat = values.reshape(-1).tolist()
    if all(isinstance(one, str) for one in flat):
        texts = [_shown(one) for one in flat]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if len(places) > MAX_NAMES:
            return None
        codes = np.array([places[text] for text in texts], dtype=np.float64)
        return Numbers(values=codes.reshape(values.shape), dtype="text", names=tuple(places))
    if all(isinstance(one, dict) for one in flat):
        return _of_maps(flat)
    return None


def _of_maps(maps: list[dict[Any, Any]]) -> Numbers | None:
    keys = list(dict.fromkeys(key for one in maps for key in one))
    if not 0 < len(keys) <= MAX_NAMES:
        return None
    columns = {key: place for place, key in enumerate(keys)}
    values = np.full((len(maps), len(keys)), np.nan)
    for row, one in enumerate(maps):
        for key, score in one.items():
            if not isinstance(score, int | float):
                return None
            values[row, columns[key]] = score
    return Numbers(values=values, dtype="map", names=tuple(_shown(str(key)) for key in keys))


def _shown(text: str) -> str:
    return printable(text[:MAX_NAME_CHARACTERS])
