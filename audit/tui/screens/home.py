"""Home: what can be audited, and what was."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from adapters.printable import printable
from audit.bundle.inspection import SignatureState
from audit.suspects.found_files import FoundBundle
from audit.tui.demo import run_demo
from audit.tui.dialogs.ask_path import AskPath
from audit.tui.dialogs.confirm import Confirm
from audit.tui.home_hint import home_hint
from audit.tui.library import Listing
from audit.tui.navigation import (
    OpenCompare,
    OpenInspector,
    OpenNewAudit,
    OpenResult,
    OpenSweep,
)
from audit.tui.screens.base import KinprintScreen
from audit.tui.sweep_data import FoundSweep
from audit.tui.widgets.audit_table import AuditTable
from audit.tui.widgets.bundle_table import BundleTable
from audit.tui.widgets.item_table import ItemTable
from audit.tui.widgets.suspect_table import SuspectTable
from audit.tui.widgets.sweep_list import SweepList
from audit.tui.words import short_path

RESCAN_EVERY_S = 4.0


class Scanned(Message):
    """A scan of folder and journal is done."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class HomeScreen(KinprintScreen):
    """Bundles, suspects, recent audits, and sweeps where there are some."""

    PLACE = "Home"
    HELP_TEXT = """\
**Bundles** are what owners sign; **suspects** are the models that one asks with them.

- Put the cursor on a bundle, then press *Enter* on a suspect: a new audit begins with the two.
- *Enter* on a bundle shows what it says; *Enter* on an audit shows its result, or goes on with it.
- *Enter* on a sweep shows its pairs, also while it runs.
- A bundle signed by a key that nobody told you to trust cannot be used: *t* trusts a key.
- */* filters all tables, *o* sorts the one that has the focus.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_audit", "New audit", id="home.new", tooltip="Audit suspect with bundle"),
        Binding("i", "inspect", "Bundle", id="home.inspect", tooltip="Look into the bundle"),
        Binding("c", "compare", "Compare", id="home.compare", tooltip="All audits of the bundle"),
        Binding("slash", "filter", "Filter", id="home.filter", tooltip="Filter the tables"),
        Binding("f", "folder", "Folder", id="home.folder", tooltip="Look in another folder"),
        Binding("t", "trust", "Trust key", id="home.trust", tooltip="Trust an owner's key"),
        Binding("d", "demo", "Demo", id="home.demo", tooltip="Make an example to try"),
        Binding("delete", "forget", "Forget", id="home.forget", show=False, tooltip="Forget audit"),
        Binding("r", "rescan", "Rescan", id="home.rescan", show=False, tooltip="Look again"),
        Binding("1", "focus_panel('bundles')", "Bundles", id="home.bundles", show=False),
        Binding("2", "focus_panel('suspects')", "Suspects", id="home.suspects", show=False),
        Binding("3", "focus_panel('audits')", "Audits", id="home.audits", show=False),
        Binding("4", "focus_panel('sweeps')", "Sweeps", id="home.sweeps", show=False),
        Binding("escape", "clear_filter", "Clear filter", id="home.clear", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._is_placed = False
        self._last_bundle: FoundBundle | None = None

    def body(self) -> Iterable[Widget]:
        """Lay out the tables and the filter."""
        yield Static("", id="hint", markup=False)
        yield Container(
            Vertical(BundleTable(id="bundles"), id="bundles-panel", classes="panel"),
            Vertical(SuspectTable(id="suspects"), id="suspects-panel", classes="panel"),
            Vertical(AuditTable(id="audits"), id="audits-panel", classes="panel"),
            Vertical(SweepList(id="sweeps"), id="sweeps-panel", classes="panel"),
            id="tables",
        )
        yield Input(
            placeholder="filter: part of a name, kind or verdict", id="filter", compact=True
        )

    def on_mount(self) -> None:
        """Begin to look."""
        self._show_folder()
        self.query_one("#hint", Static).update(
            f"Looking into {printable(str(self.desk.folder))} ..."
        )
        self.set_interval(RESCAN_EVERY_S, self.action_rescan)
        self.action_rescan()

    def on_screen_resume(self) -> None:
        """Look again: an audit may have ended meanwhile."""
        self.action_rescan()

    @work(thread=True, exclusive=True, group="scan")
    def action_rescan(self) -> None:
        """Read folder and journal anew."""
        self.post_message(Scanned(self.library.scan(self.desk)))

    def on_scanned(self, event: Scanned) -> None:
        """Show what was found."""
        listing = event.listing
        bundles, suspects, audits = self._tables
        bundles.items, suspects.items, audits.items = (
            listing.bundles,
            listing.suspects,
            listing.audits,
        )
        self._title("bundles", f"1 Bundles ({len(listing.bundles)})")
        self._title("suspects", f"2 Suspects ({len(listing.suspects)})")
        self._title("audits", f"3 Audits ({len(listing.audits)})")
        self._show_sweeps(listing.sweeps)
        self._show_hint(listing)
        self._show_last_audits()
        self.refresh_bindings()
        if not self._is_placed:
            self._is_placed = True
            (suspects if listing.bundles and listing.suspects else bundles).focus()

    def _show_sweeps(self, sweeps: tuple[FoundSweep, ...]) -> None:
        """List them; where there are none, the others have the room."""
        table = self.query_one(SweepList)
        if table.has_focus and not sweeps:
            self.query_one(SuspectTable).focus()
        table.items = sweeps
        self.query_one("#tables").set_class(bool(sweeps), "-with-sweeps")
        self._title("sweeps", f"4 Sweeps ({len(sweeps)})")

    def _show_last_audits(self) -> None:
        """Show beside each suspect what the bundle at hand found last."""
        _, suspects, audits = self._tables
        found = self._bundle
        digest = found.contents.manifest_sha256 if found and found.contents else None
        suspects.last_audits = {
            audit.suspect: audit for audit in reversed(audits.items) if audit.bundle == digest
        }

    def _show_hint(self, listing: Listing) -> None:
        hint = home_hint(listing, self.query_one(BundleTable).current, self.desk.folder)
        self.query_one("#hint", Static).update(hint)

    @on(ItemTable.Moved, "#bundles")
    def _bundle_moved(self) -> None:
        bundles, suspects, audits = self._tables
        if self._is_placed and bundles.items:
            listing = Listing(
                bundles=bundles.items, suspects=suspects.items, audits=audits.items, problem=""
            )
            self._show_hint(listing)
            self._show_last_audits()
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the demo where there is no bundle, and trust where a key is not trusted."""
        if action not in ("demo", "trust"):
            return True
        # Keys are asked for before the tables are there, too.
        bundles = [found for table in self.query(BundleTable) for found in table.items]
        if action == "demo":
            return not bundles
        if action == "trust":
            return any(one.state is SignatureState.UNTRUSTED for one in bundles)
        return True

    @on(ItemTable.Opened, "#bundles")
    def _bundle_opened(self) -> None:
        self.action_inspect()

    @on(ItemTable.Opened, "#suspects")
    def _suspect_opened(self) -> None:
        self.action_new_audit()

    @on(ItemTable.Opened, "#audits")
    def _audit_opened(self, event: ItemTable.Opened) -> None:
        self.go(OpenResult(audit=event.item.audit, bundles=self._tables[0].items))

    @on(ItemTable.Opened, "#sweeps")
    def _sweep_opened(self, event: ItemTable.Opened) -> None:
        self.go(OpenSweep(folder=event.item.folder))

    def action_new_audit(self) -> None:
        """Begin an audit with what is under the cursors."""
        bundle, suspect = self._bundle, self.query_one(SuspectTable).current
        self.go(
            OpenNewAudit(
                bundle_path=None if bundle is None else bundle.path,
                suspect_path=None if suspect is None else suspect.path,
            )
        )

    def action_inspect(self) -> None:
        """Look into the bundle."""
        if (bundle := self.query_one(BundleTable).current) is not None:
            self.go(OpenInspector(bundle_path=bundle.path))

    def action_compare(self) -> None:
        """Show all audits of the bundle."""
        bundles, _, audits = self._tables
        digest = None
        if audits.has_focus and audits.current is not None:
            digest = audits.current.bundle
        elif bundles.current is not None and bundles.current.contents is not None:
            digest = bundles.current.contents.manifest_sha256
        elif audits.current is not None:
            digest = audits.current.bundle
        if digest is None:
            self.notify("There is no audit and no bundle to compare.", severity="warning")
            return
        self.go(OpenCompare(digest=digest, bundles=bundles.items))

    def action_filter(self) -> None:
        """Let the user type a filter."""
        self.query_one("#filter").add_class("-open")
        self.query_one("#filter").focus()

    def action_clear_filter(self) -> None:
        """Show everything."""
        self.query_one("#filter", Input).value = ""
        self.query_one("#filter").remove_class("-open")
        self.query_one(SuspectTable).focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        for table in (*self._tables, self.query_one(SweepList)):
            table.needle = event.value.strip()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        found = [table for table in self._tables if table.num_shown]
        sweeps = self.query_one(SweepList)
        rest = sweeps if sweeps.num_shown else self._tables[0]
        (found[1] if len(found) == 3 else found[0] if found else rest).focus()
        if not self.query_one("#filter", Input).value:
            self.query_one("#filter").remove_class("-open")

    def action_folder(self) -> None:
        """Ask for another folder."""

        def chosen(path: Path | None) -> None:
            if path is None:
                return
            self.desk.folder = path
            self.desk.remember(folder=str(path))
            self._show_folder()
            self.action_rescan()

        self.app.push_screen(
            AskPath("Look for bundles and suspects in", self.desk.folder, wants_folder=True), chosen
        )

    def action_trust(self) -> None:
        """Ask for a public key to trust."""
        self.ask_for_key(self.desk.folder, then=self.action_rescan)

    def action_demo(self) -> None:
        """Make the demo's bundle and suspects, in the terminal."""
        out = self.desk.folder / "demo-output"
        try:
            with self.app.suspend():
                is_made = run_demo(out)
        except SuspendNotSupported:
            self.notify("Not here: run kinprint demo in a terminal.", severity="warning")
            return
        if not is_made:
            self.notify(
                "The demo did not run to its end; it needs the extra 'generator' (PyTorch).",
                severity="error",
            )
            return
        # It was made a moment ago by this very program.
        self.desk.trusted.append(out / "owner.pub")
        self.desk.folder = out
        self._show_folder()
        self.action_rescan()

    def action_forget(self) -> None:
        """Ask whether to forget the audit under the cursor."""
        audit = self.query_one(AuditTable).current
        if audit is None or not self.query_one(AuditTable).has_focus:
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self._forget(audit.audit)

        self.app.push_screen(
            Confirm(
                f"Forget the audit of {printable(audit.suspect)}?",
                f"Its {audit.num_answers} answers are deleted. Records that were exported stay.",
                yes="Forget it",
            ),
            answered,
        )

    @work(thread=True, group="forget")
    def _forget(self, audit: str) -> None:
        self.library.forget(self.desk, audit)
        self.post_message(Scanned(self.library.scan(self.desk)))

    def action_focus_panel(self, name: str) -> None:
        """Move to a table that is there."""
        if self.query_one(f"#{name}-panel").display:
            self.query_one(f"#{name}").focus()

    @property
    def _bundle(self) -> FoundBundle | None:
        """The bundle under the cursor; the last one that was, where the filter hides them all."""
        table = self.query_one(BundleTable)
        if table.current is not None or not table.items:
            self._last_bundle = table.current
        return self._last_bundle

    @property
    def _tables(self) -> tuple[BundleTable, SuspectTable, AuditTable]:
        return (
            self.query_one(BundleTable),
            self.query_one(SuspectTable),
            self.query_one(AuditTable),
        )

    def _title(self, name: str, title: str) -> None:
        self.query_one(f"#{name}-panel").border_title = title

    def _show_folder(self) -> None:
        self.set_note(short_path(self.desk.folder))
