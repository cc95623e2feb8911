"""The bundles that were found."""

from typing import Any

from rich.text import Text

from adapters.printable import printable
from audit.suspects.found_files import FoundBundle
from audit.tui.widgets.item_table import Column, ItemTable
from audit.tui.words import SIGNATURE_COLOURS, SIGNATURE_SIGNS, SIGNATURE_WORDS, theme_colour


class BundleTable(ItemTable[FoundBundle]):
    """Signature state first: nothing else about a bundle counts without it."""

    def __init__(self, *, id: str | None = None) -> None:
        columns = (
            Column[FoundBundle](title="Signature", cell=self._signature),
            Column[FoundBundle](title="Model", cell=lambda found: _of(found, "model_name")),
            Column[FoundBundle](title="Method", cell=lambda found: _of(found, "method")),
            Column[FoundBundle](
                title="Triggers",
                cell=lambda found: _count(found, "triggers"),
                order=lambda found: len(found.contents.arrays.triggers) if found.contents else -1,
            ),
            Column[FoundBundle](
                title="Queries",
                cell=lambda found: _count(found, "queries"),
                order=lambda found: len(found.contents.arrays.queries) if found.contents else -1,
            ),
            Column[FoundBundle](title="Created", cell=lambda found: _of(found, "created")[:10]),
            Column[FoundBundle](title="File", cell=lambda found: found.path.name),
        )
        super().__init__(columns, id=id)

    def key_of(self, item: FoundBundle) -> Any:
        """Return the path."""
        return item.path

    def _signature(self, found: FoundBundle) -> Text:
        return Text(
            f"{SIGNATURE_SIGNS[found.state]} {SIGNATURE_WORDS[found.state]}",
            style=theme_colour(self.app, SIGNATURE_COLOURS[found.state]),
        )


def _of(found: FoundBundle, name: str) -> str:
    return printable(getattr(found.contents.manifest, name)) if found.contents else "-"


def _count(found: FoundBundle, name: str) -> Text:
    told = str(len(getattr(found.contents.arrays, name))) if found.contents else "-"
    return Text(told, justify="right")
