"""The page of a sweep: one HTML file without scripts that asks for nothing from outside.

It shows the suspects that speak most for derivation and says how many more there are; the table
beside it (``sweep.sqlite``) has them all.
"""

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from adapters.printable import printable
from audit.bundle.commitment import UNDATED
from audit.journal.sweep_results import (
    ResultRow,
    num_ranked,
    ranked_files,
    ranked_results,
    results_of_file,
)
from audit.journal.sweep_table import SweepTable
from audit.sweep.summary import RankedPair, Summary, ranked_pair, summarise

MAX_SUSPECTS = 500
"""Rows of the heat map."""
MAX_PAIRS = 500
"""Rows of the ranked list."""

_TONES = {
    "derived": "derived",
    "independent": "independent",
    "no copy": "independent",
    "inconclusive": "inconclusive",
    "not comparable": "not",
    "mismatched": "none",
    "by output": "none",
    "failed": "failed",
    "broken off": "failed",
    "stopped": "inconclusive",
    "waiting": "none",
}
_MARKS = {
    "derived": "D",
    "independent": "i",
    "no copy": "c",
    "inconclusive": "?",
    "not comparable": "n",
    "mismatched": "·",
    "by output": "·",
    "failed": "!",
    "broken off": "!",
    "stopped": "…",
    "waiting": "…",
}


_UNDECIDED_HEAT = 0.45
"""A small p-value without the verdict is warm, never hot."""
_SHOWN = {"mismatched": "another task", "by output": "asked by output"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One pair in the heat map."""

    tone: str
    mark: str
    heat: float
    """0 for p = 1, 1 for a derived suspect with the smallest p-value that its bundle can give."""
    title: str
    """In words, for whoever points at it or cannot see it."""


@dataclass(frozen=True, kw_only=True)
class SuspectRow:
    """One suspect in the heat map."""

    name: str
    path: str
    cells: tuple[Cell, ...]


def render_page(table: SweepTable, *, fdr: float) -> str:
    """Return a sweep as one HTML file.

    Args:
        table: The sweep's table.
        fdr: Share of innocents among the accused that is allowed.

    Raises:
        AuditError: The table cannot be read.
    """
    summary = summarise(table, fdr=fdr)
    bundles = table.bundles()
    ranked = [ranked_pair(row, fdr) for row in ranked_results(table, MAX_PAIRS)]
    rows = _suspect_rows(table, [one.bundle for one in bundles])
    return _template().render(
        summary=summary,
        undated=UNDATED,
        bundles=bundles,
        rows=rows,
        num_left_out=max(0, summary.num_names - len(rows)),
        ranked=ranked,
        num_ranked=num_ranked(table),
        counts=_counts(summary),
        record_link=_record_link,
        name_of=_name_of,
    )


def _suspect_rows(table: SweepTable, bundles: list[str]) -> list[SuspectRow]:
    """Return the suspects of the heat map, the most suspicious first, then what went wrong."""
    rows = []
    for file in ranked_files(table, MAX_SUSPECTS):
        found = {row.bundle_sha256: row for row in results_of_file(table, file)}
        path = next(iter(found.values())).suspect
        cells = tuple(_cell(found[bundle]) for bundle in bundles)
        rows.append(SuspectRow(name=_name_of(path), path=path, cells=cells))
    return rows


def _cell(row: ResultRow) -> Cell:
    result = row.verdict if row.status == "asked" and row.verdict else row.status
    heat = 0.0
    told = [f"{_name_of(row.suspect)} with {row.model}: {result}"]
    if row.p_value is not None:
        smallest = row.smallest_p_value
        if smallest is not None and smallest < 1:
            heat = (1 - row.p_value) / (1 - smallest)
        if result != "derived":
            heat *= _UNDECIDED_HEAT
        told.append(f"score {row.score:z.3f}, p = {row.p_value:.3g}")
    elif row.reason:
        told.append(row.reason)
    return Cell(
        tone=_TONES[result],
        mark=_MARKS[result],
        heat=round(min(1.0, max(0.0, heat)), 3),
        title=". ".join(told),
    )


def _counts(summary: Summary) -> list[tuple[str, str, int]]:
    return [
        (_SHOWN.get(name, name), _TONES[name], summary.by_result[name])
        for name in _TONES
        if summary.by_result.get(name)
    ]


def _record_link(pair: RankedPair) -> str:
    return quote(pair.record or "")


def _name_of(path: str) -> str:
    return os.path.basename(path) or path


def _shown(value: Any) -> Any:
    """Let no control character or change of text direction through."""
    # Of every value on the page: what HTML escapes is not what steers a terminal or a reader.
    return printable(value) if type(value) is str else value


@cache
def _template() -> Template:
    source = resources.files("audit.sweep").joinpath("sweep.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.from_string(source)
