"""Which of many cases `make test` runs; `make test-all` runs every one of them."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(few: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases of ``pytest.mark.parametrize``, all but the first few of them `long`."""
    return [
        case if number < few else pytest.param(case, marks=pytest.mark.long)
        for number, case in enumerate(cases)
    ]
