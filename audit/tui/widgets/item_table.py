"""A table of things: filtered, sorted, opened. Its subclasses say which columns there are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import DataTable

from adapters.printable import printable

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Item]):
    """One column."""

    title: str
    cell: Callable[[Item], Text | str]
    order: Callable[[Item], Any] | None = None
    """Sorts by this; by the cell's text without."""


class ItemTable(DataTable[Text], Generic[Item]):
    """Shows items; give it `items`, set `needle` to filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "o",
            "sort_next",
            "Sort",
            id="table.sort",
            show=False,
            tooltip="Sort by the next column",
        ),
        Binding(
            "O",
            "sort_reverse",
            "Reverse",
            id="table.reverse",
            show=False,
            tooltip="Other way round",
        ),
        Binding("k", "cursor_up", "Up", id="table.up", show=False),
        Binding("j", "cursor_down", "Down", id="table.down", show=False),
    ]

    items: reactive[tuple[Any, ...]] = reactive(tuple, init=False)
    """All items, in the order they came."""
    needle: reactive[str] = reactive("", init=False)
    """Only rows that contain this, whatever the case."""

    class Opened(Message):
        """An item was opened with Enter or a double click."""

        def __init__(self, table: "ItemTable[Any]", item: Any) -> None:
            super().__init__()
            self.table, self.item = table, item

        @property
        def control(self) -> "ItemTable[Any]":
            """Return the table, so that handlers can select by its id."""
            return self.table

    class Moved(Message):
        """Another item is under the cursor; None if there is none."""

        def __init__(self, table: "ItemTable[Any]", item: Any) -> None:
            super().__init__()
            self.table, self.item = table, item

        @property
        def control(self) -> "ItemTable[Any]":
            """Return the table."""
            return self.table

    def __init__(self, columns: tuple[Column[Item], ...], *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False)
        self._item_columns = columns
        self._shown: list[Item] = []
        self._sorted_by: int | None = None
        self._is_reversed = False

    def on_mount(self) -> None:
        """Draw what was given before."""
        self._fill()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._fill())

    @property
    def current(self) -> Item | None:
        """Return the item under the cursor."""
        return self._shown[self.cursor_row] if 0 <= self.cursor_row < len(self._shown) else None

    @property
    def num_shown(self) -> int:
        """Return the number of rows that pass the filter."""
        return len(self._shown)

    def watch_items(self) -> None:
        """Draw anew."""
        self._fill()

    def watch_needle(self) -> None:
        """Draw anew."""
        self._fill()

    def key_of(self, item: Item) -> Any:
        """Return what stays the same when an item is read again, so that the cursor stays."""
        return item

    def action_sort_next(self) -> None:
        """Sort by the next column."""
        self._sorted_by = 0 if self._sorted_by is None else self._sorted_by + 1
        if self._sorted_by >= len(self._item_columns):
            self._sorted_by = None
        self._fill()

    def action_sort_reverse(self) -> None:
        """Turn the order round."""
        self._is_reversed = not self._is_reversed
        self._fill()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column that was clicked; once more turns it round."""
        if event.column_index == self._sorted_by:
            self._is_reversed = not self._is_reversed
        self._sorted_by = event.column_index
        self._fill()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Say what was opened."""
        event.stop()
        if self.current is not None:
            self.post_message(self.Opened(self, self.current))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Say what is under the cursor."""
        event.stop()
        self.post_message(self.Moved(self, self.current))

    def _fill(self) -> None:
        if not self.is_mounted:
            return
        before = None if self.current is None else self.key_of(self.current)
        rows = [(item, self._cells(item)) for item in self.items]
        wanted = self.needle.casefold()
        rows = [
            (item, cells)
            for item, cells in rows
            if wanted in " ".join(cell.plain for cell in cells).casefold()
        ]
        if self._sorted_by is not None:
            column, index = self._item_columns[self._sorted_by], self._sorted_by
            if column.order is not None:
                order = column.order
                rows.sort(key=lambda row: order(row[0]))
            else:
                rows.sort(key=lambda row: row[1][index].plain.casefold())
        if self._is_reversed:
            rows.reverse()
        self._shown = [item for item, _ in rows]
        self.clear(columns=True)
        for index, column in enumerate(self._item_columns):
            mark = (" ▴" if not self._is_reversed else " ▾") if index == self._sorted_by else ""
            # Measured here: the table's own measuring comes later, and not always.
            title = f"{column.title}{mark}"
            width = max([len(title), *(cells[index].cell_len for _, cells in rows)])
            self.add_column(title, width=width)
        for _, cells in rows:
            self.add_row(*cells)
        keys = [self.key_of(item) for item in self._shown]
        if before in keys:
            self.move_cursor(row=keys.index(before), animate=False)
        self.post_message(self.Moved(self, self.current))

    def _cells(self, item: Item) -> list[Text]:
        cells: list[Text] = []
        for column in self._item_columns:
            cell = column.cell(item)
            cells.append(cell if isinstance(cell, Text) else Text(printable(cell), no_wrap=True))
        return cells
