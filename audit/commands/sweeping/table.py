"""What a sweep found, for people at a terminal."""

import os
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from adapters.printable import printable
from audit.bundle.commitment import UNDATED
from audit.commands.terminal.consoles import result_console
from audit.commands.verdict_table import STYLES
from audit.sweep.summary import RankedPair, Summary

_NO_OUTCOME = {
    "mismatched": "another task",
    "by output": "asked by output",
    "failed": "failed",
    "stopped": "stopped",
    "broken off": "broken off",
    "waiting": "waiting",
}


def print_summary(summary: Summary, page: Path) -> None:
    """Print the pairs that speak most for derivation, the counts, and what could not be asked."""
    console = result_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    if summary.ranked:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("suspect", "bundle", "verdict", "score", "p", "adjusted p"):
            is_number = title in ("score", "p", "adjusted p")
            table.add_column(title, justify="right" if is_number else "left", no_wrap=True)
        for pair in summary.ranked:
            table.add_row(*_cells(pair))
        console.print(table)
        console.print()
    asked = sum(num for name, num in summary.by_result.items() if name not in _NO_OUTCOME)
    shown = f"the first {len(summary.ranked)} of them above" if summary.ranked else "none above"
    say(
        f"{summary.num_names} names of {summary.num_suspects} different suspects, "
        f"{len(summary.bundles)} {'bundle' if len(summary.bundles) == 1 else 'bundles'}; "
        f"{asked} pairs have an outcome, {shown}."
    )
    told = [f"{_NO_OUTCOME.get(name, name)} {num}" for name, num in summary.by_result.items()]
    say(f"Pairs: {', '.join(told)}." if told else "No suspects were found.")
    if not summary.is_comparable:
        say(
            "No suspect is about the task of any bundle: "
            + "; ".join(summary.bundles)
            + ". Why, most frequent first:"
        )
    for reason in summary.reasons:
        if reason.status == "mismatched" and summary.is_comparable:
            continue
        say(
            f"  {_NO_OUTCOME[reason.status]}, {reason.num_pairs} with {reason.task}: "
            f"{printable(reason.reason)}"
        )
    derived = summary.by_result.get("derived", 0)
    if derived:
        called = "1 pair is" if derived == 1 else f"{derived} pairs are"
        say(
            f"{called} called derived. For having asked so many, {summary.num_accused} of them "
            f"count at a rate of {summary.fdr:g} innocents among the accused (Benjamini-Hochberg)."
        )
        say(UNDATED)
    say(f"{page}")


def _cells(pair: RankedPair) -> list[str]:
    style = STYLES.get(pair.verdict, "")
    name = printable(os.path.basename(pair.suspect))
    return [
        escape(name),
        escape(printable(pair.model)),
        f"[{style}]{pair.verdict}[/]" if style else pair.verdict,
        "-" if pair.score is None else f"{pair.score:z.3f}",
        f"{pair.p_value:.3g}",
        "-" if pair.adjusted_p_value is None else f"{pair.adjusted_p_value:.3g}",
    ]
