"""Verdicts as a table for people."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from adapters.printable import printable
from audit.commands.audit_row import shown_p_value
from audit.commands.terminal.consoles import result_console

STYLES = {
    "derived": "bold red",
    "independent": "green",
    "no copy": "green",
    "inconclusive": "yellow",
    "not comparable": "magenta",
    "no answer": "magenta",
}

_WIDTHS = {"MFUE rate": 100, "seconds": 100, "rank corr.": 120, "weights": 90}
"""Columns that a terminal must have to have room for what is least wanted."""
_OPTIONAL = ("MFUE rate", "rank corr.", "weights")
"""Left out where no suspect has one."""


def print_verdicts(
    rows: Sequence[Mapping[str, Any]], *, extra: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Print one line per suspect, and in words what the verdicts rest on.

    Args:
        rows: As in the JSON document of ``kinprint audit``, under ``audits``.
        extra: Further columns by title, a cell per row.
    """
    console = result_console()
    columns = ["suspect", "verdict", "score", "threshold", "p"]
    columns += ["weights", "rank corr.", "MFUE rate", "asked", "seconds"]
    titles = [*columns, *(extra or {})]
    lines = [
        [*_cells(row), *(column[number] for column in (extra or {}).values())]
        for number, row in enumerate(rows)
    ]
    shown = [
        position
        for position, title in enumerate(titles)
        if console.width >= _WIDTHS.get(title, 0)
        and (title not in _OPTIONAL or any(line[position] != "-" for line in lines))
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position in shown:
        table.add_column(
            titles[position],
            justify="right" if 1 < position < len(columns) else "left",
            no_wrap=True,
            # Only names are cut off where the terminal is narrow.
            min_width=max(len(line[position]) for line in lines) if position and lines else None,
        )
    for line in lines:
        cells = [escape(cell) for cell in line]
        cells[1] = f"[{STYLES[line[1]]}]{cells[1]}[/]"
        table.add_row(*(cells[position] for position in shown))
    console.print(table)
    console.print()
    for row in rows:
        name = printable(os.path.basename(row["suspect"]["path"]))
        told = row["error"] if "error" in row else row["outcome"]["text"]
        if not row.get("is_complete", True):
            told += " The limit ended it; go on with --resume and a larger one."
        console.print(f"[bold]{escape(name)}[/]: ", end="", highlight=False)
        console.print(told, markup=False, highlight=False)
    accused = [
        row["adjusted_p_value"]
        for row in rows
        if row.get("adjusted_p_value") is not None and row["outcome"]["verdict"] == "derived"
    ]
    if accused:
        console.print(
            f"\n{len(accused)} of {len(rows)} suspects are called derived. For having asked so "
            f"many, their p-values count as at most {max(accused):z.3f} (Benjamini-Hochberg).",
            markup=False,
            highlight=False,
        )


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = printable(os.path.basename(row["suspect"]["path"]))
    if "error" in row:
        return [name, "no answer", *["-"] * 8]
    outcome, scores = row["outcome"], row["outcome"]["scores"]
    asked, seconds = str(outcome["num_questions"]), f"{row['run']['seconds']:.1f}"
    p_value = shown_p_value(outcome)
    told_p = "-" if p_value is None else f"{p_value:z.3f}"
    kinship = (outcome.get("weights") or {}).get("value")
    weights = "-" if kinship is None else f"{kinship:z.2f}"
    if not scores:
        return [name, outcome["verdict"], "-", "-", told_p, weights, "-", "-", asked, seconds]
    first = scores[0]
    rates, ranks = (
        [
            score["value"]
            for score in scores
            if score["name"].startswith(name) and score["num_queries"]
        ]
        for name in ("mfue", "rank")
    )
    low, high = first["independent_below"], first["derived_above"]
    threshold = "-" if high is None else f"{high:z.3f}"
    if low is not None and high is not None and low != high:
        threshold = f"{min(low, high):z.3f}..{max(low, high):z.3f}"
    return [
        name,
        outcome["verdict"],
        f"{first['value']:z.3f}",
        threshold,
        told_p,
        weights,
        f"{ranks[0]:.2f}" if ranks else "-",
        f"{rates[0]:.2f}" if rates else "-",
        asked,
        seconds,
    ]
