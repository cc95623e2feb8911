"""Names and values, one pair a line; long values are broken, never cut."""

from rich.table import Table
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from adapters.printable import printable


class Facts(Static):
    """Shows `rows`.

    Args:
        rows: Names and values to begin with.
    """

    DEFAULT_CSS = "Facts { height: auto; padding: 0 1; }"

    rows: reactive[tuple[tuple[str, str], ...]] = reactive((), init=False)
    """Names and values."""

    def __init__(self, rows: tuple[tuple[str, str], ...], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(Facts.rows, rows)

    def on_mount(self) -> None:
        """Draw."""
        self.watch_rows()

    def watch_rows(self) -> None:
        """Draw anew."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", min_width=18)
        table.add_column(overflow="fold")
        for name, value in self.rows:
            table.add_row(Text(printable(name)), Text(printable(value)))
        self.update(table)
