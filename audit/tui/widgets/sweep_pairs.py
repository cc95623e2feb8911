"""Pairs of a sweep."""

from math import inf
from typing import Any

from rich.text import Text

from audit.tui.sweep_data import SweepRow
from audit.tui.widgets.audit_table import number, short_name
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import VERDICT_COLOURS, VERDICT_SIGNS, theme_colour

_WORDS = {
    "mismatched": "· another task",
    "by output": "· asked by output",
    "failed": "✗ failed",
    "stopped": "◔ stopped",
    "broken off": "✗ broken off",
    "waiting": "… waiting",
}
_REASON_CELLS = 60


class SweepPairs(ItemTable[SweepRow]):
    """The most suspicious first."""

    def __init__(self, *, id: str | None = None) -> None:
        columns = (
            Column[SweepRow](title="Suspect", cell=lambda row: short_name(row.name)),
            Column[SweepRow](title="Bundle", cell=lambda row: row.model),
            Column[SweepRow](title="Verdict", cell=self._verdict),
            Column[SweepRow](
                title="Score",
                cell=lambda row: number(row.score),
                order=lambda row: -inf if row.score is None else row.score,
            ),
            Column[SweepRow](
                title="p", cell=lambda row: number(row.p_value), order=_order("p_value")
            ),
            Column[SweepRow](
                title="Adjusted",
                cell=lambda row: number(row.adjusted_p_value),
                order=_order("adjusted_p_value"),
            ),
            Column[SweepRow](
                title="Asked",
                cell=lambda row: Text(
                    "-" if row.num_questions is None else str(row.num_questions), justify="right"
                ),
                order=lambda row: row.num_questions or 0,
            ),
            Column[SweepRow](title="Why", cell=_why),
        )
        super().__init__(columns, id=id)

    def key_of(self, item: SweepRow) -> Any:
        """Return what the pair is."""
        return item.suspect, item.bundle_path

    def _verdict(self, row: SweepRow) -> Text:
        if row.status != "asked" or row.verdict is None:
            told = _WORDS.get(row.status, row.status)
            return Text(told, style=theme_colour(self.app, "text-muted"))
        told = f"{VERDICT_SIGNS[row.verdict]} {row.verdict.value}"
        return Text(told, style=theme_colour(self.app, VERDICT_COLOURS[row.verdict]))


def _order(name: str) -> Any:
    def order(row: SweepRow) -> float:
        value = getattr(row, name)
        return 2.0 if value is None else float(value)

    return order


def _why(row: SweepRow) -> str:
    if row.status == "asked":
        return ""
    return row.reason if len(row.reason) <= _REASON_CELLS else row.reason[: _REASON_CELLS - 1] + "…"
