"""Numbers as vendors write them: 0.93, "0.93", "93 %", "93,5%"."""

import re
from typing import Any

_NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*(%?)$", re.ASCII)


def written_number(value: Any) -> float | None:
    """Return the number that a JSON value is, or is the text of; None where it is none.

    Example:
        >>> [written_number(value) for value in (0.5, " 93 %", "93,5%", "1e-3", "much", True)]
        [0.5, 0.93, 0.935, 0.001, None, None]
    """
    if type(value) in (int, float):
        return float(value)
    if not isinstance(value, str) or len(value) > 64:
        return None
    found = _NUMBER.match(value.strip())
    if found is None:
        return None
    number = float(found[1].replace(",", "."))
    return number / 100 if found[2] else number
