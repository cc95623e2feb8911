"""The suspects that were found: ONNX files, suspect files and endpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.reactive import reactive

from adapters.printable import printable
from audit.records.from_journal import StoredAudit
from audit.suspects.found_files import FoundSuspect, SuspectKind
from audit.tui.widgets.audit_table import verdict_text
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import size, theme_colour


class SuspectTable(ItemTable[FoundSuspect]):
    """Whom an audit could ask."""

    last_audits: reactive[Mapping[str, StoredAudit]] = reactive(dict, init=False)
    """Newest audit with the bundle at hand, by the suspect's name in the journal."""

    def __init__(self, *, id: str | None = None) -> None:
        columns = (
            Column[FoundSuspect](title="Suspect", cell=lambda found: found.path.name),
            Column[FoundSuspect](title="Kind", cell=lambda found: found.kind.value),
            Column[FoundSuspect](
                title="Size",
                cell=lambda found: Text(size(found.num_bytes), justify="right"),
                order=lambda found: found.num_bytes,
            ),
            Column[FoundSuspect](title="Last audit", cell=self._last),
            Column[FoundSuspect](title="Asks", cell=self._asks),
        )
        super().__init__(columns, id=id)

    def watch_last_audits(self) -> None:
        """Draw anew."""
        self._fill()

    def key_of(self, item: FoundSuspect) -> Any:
        """Return the path."""
        return item.path

    def _last(self, found: FoundSuspect) -> Text:
        audit = self.last_audits.get(name_in_journal(found))
        return Text("") if audit is None else verdict_text(self, audit)

    def _asks(self, found: FoundSuspect) -> Text:
        if found.problem:
            told = f"✗ {printable(found.problem.splitlines()[0])}"
            return Text(told, style=theme_colour(self.app, "error"), no_wrap=True)
        if found.kind is SuspectKind.ONNX:
            return Text("")
        return Text(printable(found.target), no_wrap=True)


def name_in_journal(found: FoundSuspect) -> str:
    """Return the name under which the journal knows a suspect."""
    return found.target if found.kind is SuspectKind.ENDPOINT else Path(found.target).name
