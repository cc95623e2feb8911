"""Sweeps that lie in the folder."""

from datetime import datetime
from typing import Any

from rich.text import Text

from audit.tui.sweep_data import FoundSweep
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import VERDICT_COLOURS, theme_colour
from audit.verdict.outcome import Verdict


class SweepList(ItemTable[FoundSweep]):
    """The one that was last written to first."""

    def __init__(self, *, id: str | None = None) -> None:
        columns = (
            Column[FoundSweep](title="Results", cell=lambda sweep: sweep.folder.name),
            Column[FoundSweep](title="Derived", cell=self._derived, order=_num_derived),
            Column[FoundSweep](
                title="Asked",
                cell=lambda sweep: Text(str(sweep.num_asked), justify="right"),
                order=lambda sweep: sweep.num_asked,
            ),
            Column[FoundSweep](title="Last asked", cell=_when, order=lambda sweep: sweep.asked),
        )
        super().__init__(columns, id=id)

    def key_of(self, item: FoundSweep) -> Any:
        """Return the folder."""
        return item.folder

    def _derived(self, sweep: FoundSweep) -> Text:
        style = theme_colour(self.app, VERDICT_COLOURS[Verdict.DERIVED])
        return Text(
            str(sweep.num_derived), justify="right", style=style if sweep.num_derived else ""
        )


def _num_derived(sweep: FoundSweep) -> int:
    return sweep.num_derived


def _when(sweep: FoundSweep) -> str:
    if sweep.problem:
        return "cannot be read"  # opened, it says why
    if not sweep.asked:
        return "not yet"
    return datetime.fromtimestamp(sweep.asked).astimezone().strftime("%Y-%m-%d %H:%M")
