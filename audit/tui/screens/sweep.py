"""Sweep: what became of every pair of suspect and bundle, also while it runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from adapters.printable import printable
from audit.errors import AuditError
from audit.tui.navigation import OpenResult
from audit.tui.screens.base import KinprintScreen
from audit.tui.sweep_data import SweepRow, SweepView, read_sweep, sweep_journal
from audit.tui.widgets.item_table import ItemTable
from audit.tui.widgets.sweep_pairs import SweepPairs
from audit.tui.words import short_path

READ_EVERY_S = 3.0


class SweepRead(Message):
    """The sweep was read, or could not be."""

    def __init__(self, view: SweepView | None, problem: str) -> None:
        super().__init__()
        self.view, self.problem = view, problem


class SweepScreen(KinprintScreen):
    """One row per pair, the most suspicious first.

    Args:
        folder: Results of the sweep.
    """

    PLACE = "Home / Sweep"
    HELP_TEXT = """\
All pairs of a sweep, the most suspicious first. *Adjusted* is the p-value for having asked so many
(Benjamini-Hochberg): calling derived what is at or below a rate keeps the expected share of
innocents among the accused there.

*Enter* shows what a verdict rests on, or why there is none; */* filters, *o* sorts. A sweep that
runs is read again every few seconds. *sweep.html* in the folder shows the same to others.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="sweep.filter", tooltip="Filter the pairs"),
        Binding("r", "reread", "Read again", id="sweep.reread", tooltip="Read again"),
        Binding("escape", "leave", "Back", id="sweep.back", tooltip="Back to Home"),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._view: SweepView | None = None

    def body(self) -> Iterable[Widget]:
        """Lay out counts, filter and table."""
        yield Static("", id="hint", markup=False)
        yield Vertical(SweepPairs(id="pairs"), classes="panel", id="pairs-panel")
        yield Input(placeholder="filter: part of a name or verdict", id="filter", compact=True)

    def on_mount(self) -> None:
        """Begin to read."""
        self.set_note(short_path(self._folder))
        self.query_one(SweepPairs).focus()
        self.set_interval(READ_EVERY_S, self.action_reread)
        self.action_reread()

    @work(thread=True, exclusive=True, group="read")
    def action_reread(self) -> None:
        """Read the sweep anew."""
        try:
            self.post_message(SweepRead(read_sweep(self._folder), ""))
        except AuditError as error:
            self.post_message(SweepRead(None, str(error)))

    def on_sweep_read(self, event: SweepRead) -> None:
        """Show it, where it has changed."""
        hint = self.query_one("#hint", Static)
        if event.view is None:
            hint.update(Text(f"✗ {printable(event.problem)}"))
            return
        if event.view == self._view:
            return
        self._view = event.view
        hint.update(Text(_told(event.view)))
        self.query_one(SweepPairs).items = event.view.rows
        panel = self.query_one("#pairs-panel")
        panel.border_title = f"Pairs ({event.view.num_pairs})"

    @on(ItemTable.Opened)
    def _opened(self, event: ItemTable.Opened) -> None:
        row: SweepRow = event.item
        if row.audit is None:
            self.notify(printable(row.reason or "Not asked yet."), title=row.name, timeout=15)
            return
        self.go(
            OpenResult(
                audit=row.audit,
                bundle_path=row.bundle_path,
                journal=sweep_journal(self._folder),
            )
        )

    def action_filter(self) -> None:
        """Let the user type a filter."""
        self.query_one("#filter").add_class("-open")
        self.query_one("#filter").focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.query_one(SweepPairs).needle = event.value.strip()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one(SweepPairs).focus()
        if not self.query_one("#filter", Input).value:
            self.query_one("#filter").remove_class("-open")

    def action_leave(self) -> None:
        """Show everything again, or go back."""
        field = self.query_one("#filter", Input)
        if field.has_class("-open"):
            field.value = ""
            field.remove_class("-open")
            self.query_one(SweepPairs).focus()
            return
        super().action_leave()


def _told(view: SweepView) -> str:
    summary = view.summary
    told = ", ".join(f"{num} {name}" for name, num in summary.by_result.items())
    words = (
        f"{summary.num_suspects} different suspects, {_counted(len(summary.bundles), 'bundle')}: "
        f"{told or 'nothing'}."
    )
    if summary.by_result.get("derived"):
        words += (
            f" For having asked so many, {summary.num_accused} of the derived ones count "
            f"(rate {summary.fdr:g})."
        )
    if len(view.rows) < view.num_pairs:
        words += f" The first {len(view.rows)} are shown; sweep.sqlite has all."
    return words


def _counted(num: int, what: str) -> str:
    return f"{num} {what}" if num == 1 else f"{num} {what}s"
