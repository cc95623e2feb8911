"""Export: a signed record, and reports made of it."""

import os
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from audit.errors import AuditError
from audit.tui.desk import Desk
from audit.tui.exporting import Export, make_auditor_key, write_export
from audit.tui.result_data import ResultData
from audit.tui.shared import shared_by
from audit.tui.widgets.check import Check
from audit.tui.widgets.form_row import FormRow


class Written(Message):
    """An export ended."""

    def __init__(self, paths: tuple[Path, ...], problem: str) -> None:
        super().__init__()
        self.paths, self.problem = paths, problem


class ExportScreen(ModalScreen[None]):
    """Asks where the record goes and who signs it.

    Args:
        data: What is exported.
        journal: Where the audit is; the desk's journal if None.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "write", "Write", id="export.write", priority=True),
        Binding("ctrl+g", "make_key", "Make a key", id="export.key"),
        Binding("escape", "leave", "Back", id="export.back"),
        Binding("up", "app.focus_previous", "Up", show=False),
        Binding("down", "app.focus_next", "Down", show=False),
    ]

    def __init__(self, data: ResultData, *, journal: Path | None = None) -> None:
        super().__init__()
        self._data, self._journal = data, journal

    def compose(self) -> ComposeResult:
        """Lay out the form."""
        desk = self._desk
        suspect = Path(self._data.record.opening.suspect.name).name or "audit"
        stem = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in suspect)
        record = desk.folder / f"{stem}.{self._data.audit[:6]}.kinrecord"
        key = desk.preferences.auditor_key or str(desk.config / "auditor.key")
        with Vertical(classes="dialog -wide-dialog"):
            yield Static("Export the evidence", classes="dialog-title")
            yield FormRow("Record", Input(str(record), compact=True), id="record")
            yield FormRow("Signed by", Input(key, compact=True), id="key")
            yield FormRow(
                "Passphrase",
                Input(password=True, compact=True, placeholder="none"),
                told="of the key, if it has one",
                id="passphrase",
            )
            yield FormRow(
                "HTML report",
                Check("for people", value=True, compact=True),
                told=self._report_note(),
                id="html",
            )
            yield FormRow("JSON report", Check("for programs", compact=True), told="", id="json")
            yield Static("", id="export-state", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Write (Ctrl+S)", id="write", variant="primary", compact=True)
                yield Button("Make a key (Ctrl+G)", id="make-key", compact=True)
                yield Button("Back (Esc)", id="back", compact=True)

    def on_mount(self) -> None:
        """Say what is missing."""
        self._check()
        self.query_one("#write").focus()

    @property
    def _desk(self) -> Desk:
        return shared_by(self.app).desk

    def _report_note(self) -> str:
        if self._data.bundle_path is None:
            return "without images: the bundle is not here"
        return "verified with the bundle, with images"

    @on(Input.Changed)
    def _check(self) -> None:
        key, record = self._path("key"), self._path("record")
        problem = "" if key.is_file() else "no such key: Ctrl+G makes one here"
        self.query_one("#row-key", FormRow).problem = problem
        wrong = "" if os.access(record.parent, os.W_OK) else "cannot write to this folder"
        if record.is_dir() or not record.name.strip():
            wrong = "which file?"
        if not wrong and record.exists():
            self.query_one("#row-record", FormRow).told = "exists, is replaced"
        else:
            self.query_one("#row-record", FormRow).told = ""
        self.query_one("#row-record", FormRow).problem = wrong
        self.query_one("#write", Button).disabled = bool(problem or wrong)

    def _path(self, name: str) -> Path:
        return self._desk.folder / Path(self.query_one(f"#{name}", Input).value).expanduser()

    @on(Button.Pressed, "#write")
    def action_write(self) -> None:
        """Write."""
        if self.query_one("#write", Button).disabled:
            return
        self.query_one("#export-state", Static).update("writing ...")
        self.query_one("#write", Button).disabled = True
        self._write(
            Export(
                audit=self._data.audit,
                journal=self._journal or self._desk.journal,
                record=self._path("record"),
                key=self._path("key"),
                passphrase=self.query_one("#passphrase", Input).value or None,
                bundle=self._data.bundle_path,
                html=self.query_one("#html", Check).value,
                json=self.query_one("#json", Check).value,
            )
        )

    @work(thread=True, exclusive=True, group="export")
    def _write(self, export: Export) -> None:
        try:
            paths, problem = write_export(export, self._desk), ""
        except AuditError as error:
            paths, problem = (), str(error)
        self.post_message(Written(paths, problem))

    def on_written(self, event: Written) -> None:
        """Say what was written, or why not."""
        self.query_one("#write", Button).disabled = False
        if event.problem:
            self.query_one("#export-state", Static).update(f"✗ {event.problem}")
            return
        self._desk.remember(auditor_key=str(self._path("key")))
        for path in event.paths:
            self.app.notify(str(path), title="Written")
        self.dismiss()

    @on(Button.Pressed, "#make-key")
    def action_make_key(self) -> None:
        """Make the auditor's key where none is yet."""
        try:
            path = make_auditor_key(self._desk.config)
        except AuditError as error:
            self.query_one("#export-state", Static).update(f"✗ {error}")
            return
        self.query_one("#key", Input).value = str(path)
        self.query_one("#export-state", Static).update(
            f"Made {path.name} and {path.with_suffix('.pub').name}: give the .pub to whoever "
            "verifies your records."
        )
        self._check()

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        """Go back."""
        self.dismiss()
