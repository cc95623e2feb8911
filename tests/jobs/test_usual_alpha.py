"""The error rate that a bundle states where its owner asks for none."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from generator.jobs.crafting import CraftJob
from generator.jobs.run_references import with_usual_alpha
from generator.pools.references import PoolModel, torch_pool_model


def job(**changes: Any) -> CraftJob:
    given = {"model": "nets.py:net", "images": [Path("i")], "out": Path("o"), "key": Path("k")}
    return CraftJob(**{"normalise": "0.5/0.5", **given, **changes})


def innocents(num: int, *, lineage: str | None = None) -> list[PoolModel]:
    return [
        torch_pool_model(
            nn.Flatten(), name=str(n), role="innocent", stratum="s", provenance="p", lineage=lineage
        )
        for n in range(num)
    ]


@pytest.mark.parametrize(
    ("num", "method", "alpha"),
    # Half of them shape the queries; AKH only asks the source, so that all of them calibrate.
    [(37, "mfue", 0.1), (38, "mfue", 0.05), (18, "akh", 0.1), (19, "akh", 0.05)],
)
def test_one_in_twenty_is_stated_where_the_innocents_carry_it(
    num: int, method: str, alpha: float
) -> None:
    assert with_usual_alpha(job(method=method), innocents(num)).alpha == alpha


def test_files_of_one_lineage_carry_nothing() -> None:
    assert with_usual_alpha(job(), innocents(60, lineage="run 1")).alpha == 0.1


def test_what_the_owner_asks_for_stays() -> None:
    assert with_usual_alpha(job(alpha=0.1), innocents(60)).alpha == 0.1
