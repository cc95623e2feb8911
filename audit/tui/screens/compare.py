"""Compare: all audits of one bundle, side by side."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from adapters.printable import printable
from audit.errors import AuditError
from audit.records.from_journal import StoredAudit
from audit.suspects.found_files import FoundBundle
from audit.tui.library import read_audits
from audit.tui.navigation import OpenResult, OpenSweep
from audit.tui.screens.base import KinprintScreen
from audit.tui.sweep_data import sweep_folders
from audit.tui.widgets.compare_table import CompareTable
from audit.tui.widgets.item_table import ItemTable


class Read(Message):
    """The audits were read, or could not be."""

    def __init__(self, audits: tuple[StoredAudit, ...], problem: str, sweep: Path | None) -> None:
        super().__init__()
        self.audits, self.problem, self.sweep = audits, problem, sweep


class CompareScreen(KinprintScreen):
    """One row per audit, the highest score first.

    Args:
        digest: SHA-256 of the bundle's manifest.
        bundles: Where a result finds its bundle.
    """

    PLACE = "Home / Compare"
    HELP_TEXT = """\
All audits of one bundle, the highest score first, on one scale. ◆ is a suspect's score; │ is the
line above which that audit counts as derived, ┊ the one below which it counts as independent: they
depend on how many queries were answered, so they can differ from row to row.

Where the folder holds the results of a sweep, *w* shows the newest.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "sweep", "Sweep", id="compare.sweep", tooltip="Show the newest sweep here"),
        Binding("escape", "leave", "Back", id="compare.back", tooltip="Back"),
    ]

    def __init__(self, digest: str, *, bundles: tuple[FoundBundle, ...] = ()) -> None:
        super().__init__()
        self._digest, self._bundles = digest, bundles
        self._sweep: Path | None = None

    def body(self) -> Iterable[Widget]:
        """Lay out heading and table."""
        yield Static("", id="hint", markup=False)
        yield Vertical(CompareTable(id="compare"), classes="panel", id="compare-panel")

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one(CompareTable).focus()
        self._read()

    def on_screen_resume(self) -> None:
        """Read again."""
        self._read()

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        try:
            audits, problem = read_audits(self.desk.journal), ""
        except AuditError as error:
            audits, problem = (), str(error)
        own = tuple(one for one in audits if one.bundle == self._digest)
        newest = next(iter(sweep_folders(self.desk.folder)), None)
        self.post_message(Read(own, problem, newest))

    def on_read(self, event: Read) -> None:
        """Show them."""
        table = self.query_one(CompareTable)
        table.show(event.audits)
        if event.sweep != self._sweep:
            self._sweep = event.sweep
            self.refresh_bindings()
        if event.problem:
            told = f"✗ {printable(event.problem)}"
        elif event.audits:
            name = printable(event.audits[0].model_name)
            self.set_note(name)
            told = f"{len(event.audits)} audits of {name}; Enter shows one."
        else:
            told = "No audit of this bundle yet."
        if event.sweep is not None:
            told += f" w shows the sweep in {printable(event.sweep.name)}."
        self.query_one("#hint", Static).update(Text(told))

    @on(ItemTable.Opened)
    def _opened(self, event: ItemTable.Opened) -> None:
        self.go(OpenResult(audit=event.item.audit, bundles=self._bundles))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a sweep only where there is one."""
        return action != "sweep" or self._sweep is not None

    def action_sweep(self) -> None:
        """Show the newest sweep of the folder."""
        if self._sweep is not None:
            self.go(OpenSweep(folder=self._sweep))
