"""All questions of an audit as one grid of signs: what was asked, and what came back."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from audit.tui.words import theme_colour


class Mark(Enum):
    """What came of a question: sign, word and theme colour.

    Only queries speak for or against derivation by their label, so that only theirs are in the
    colours of a verdict.
    """

    PENDING = ("·", "not asked yet", "text-muted")
    MATCH = ("■", "like the source", "error")
    MISMATCH = ("□", "unlike the source", "success")
    SAME = ("■", "like the source", "primary")
    OTHER = ("□", "unlike the source", "text-muted")
    RIGHT = ("■", "right", "primary")
    WRONG = ("x", "wrong", "warning")
    REFUSED = ("!", "no class given", "warning")

    @property
    def sign(self) -> str:
        """Return the cell's character."""
        return self.value[0]

    @property
    def word(self) -> str:
        """Return what the sign means."""
        return self.value[1]


@dataclass(frozen=True)
class _Row:
    """One line of the grid: a heading, or cells."""

    heading: str
    cells: tuple[str, ...]


_HEADINGS = {
    "control": "control images",
    "query": "queries",
    "trigger": "triggers",
    "probe": "probes of the triggers",
    "line-up": "line-up",
}


class QueryGrid(ScrollView, can_focus=True):
    """Shows `marks` for `questions`; a cursor chooses one."""

    DEFAULT_CSS = "QueryGrid { overflow-x: hidden; scrollbar-gutter: stable; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Previous", id="grid.left", show=False),
        Binding("right,l", "move(1)", "Next", id="grid.right", show=False),
        Binding("up,k", "move_row(-1)", "Row up", id="grid.up", show=False),
        Binding("down,j", "move_row(1)", "Row down", id="grid.down", show=False),
        Binding("home", "jump(0)", "First", id="grid.first", show=False),
        Binding("end", "jump(-1)", "Last", id="grid.last", show=False),
    ]

    questions: reactive[tuple[str, ...]] = reactive((), init=False)
    """Ids in the order of asking."""
    marks: reactive[Mapping[str, Mark]] = reactive(dict, init=False, always_update=True)
    """By question; `Mark.PENDING` where it is missing."""
    chosen: reactive[str | None] = reactive(None, init=False)
    """The question under the cursor."""

    class Chosen(Message):
        """Somebody moved the cursor to a question."""

        def __init__(self, question: str) -> None:
            super().__init__()
            self.question = question

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[_Row] = []
        self._row_of: dict[str, int] = {}
        self._place_of: dict[str, int] = {}
        self._per_row = 1

    def watch_questions(self) -> None:
        """Lay the grid out anew."""
        self._lay_out()

    def watch_marks(self) -> None:
        """Draw anew."""
        self.refresh()

    def watch_chosen(self) -> None:
        """Draw the cursor where it is now, and bring it into sight."""
        self._show_chosen()
        self.refresh()

    def on_resize(self) -> None:
        """Lay the grid out for the new width."""
        self._lay_out()

    def _show_chosen(self) -> None:
        row = self._row_of.get(self.chosen or "")
        if row is not None:
            self.scroll_to_region(Region(0, row, 1, 1), animate=False)

    def _lay_out(self) -> None:
        self._per_row = max(1, self.scrollable_content_region.width // 2)
        rows: list[_Row] = []
        for kind, members in groupby(self.questions, key=lambda one: one.partition("/")[0]):
            cells = tuple(members)
            rows.append(_Row(f"{len(cells)} {_HEADINGS.get(kind, kind)}", ()))
            rows += [
                _Row("", cells[start : start + self._per_row])
                for start in range(0, len(cells), self._per_row)
            ]
        self._rows = rows
        self._row_of = {one: y for y, row in enumerate(rows) for one in row.cells}
        self._place_of = {one: place for place, one in enumerate(self.questions)}
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows))
        # How far it can be scrolled is known after the next layout.
        self.call_after_refresh(self._show_chosen)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        row_index = y + self.scroll_offset.y
        width, plain = self.size.width, self.rich_style
        if row_index >= len(self._rows):
            return Strip.blank(width, plain)
        row = self._rows[row_index]
        if row.heading:
            muted = plain + Style(color=theme_colour(self.app, "text-muted"), italic=True)
            return Strip([Segment(row.heading, muted)]).adjust_cell_length(width, plain)
        segments: list[Segment] = []
        chosen, marks, gap = self.chosen, self.marks, Segment(" ", plain)
        cells: dict[Mark, Segment] = {}
        for question in row.cells:
            mark = marks.get(question, Mark.PENDING)
            cell = cells.get(mark)
            if cell is None:
                style = plain + Style(color=theme_colour(self.app, mark.value[2]))
                cell = cells[mark] = Segment(mark.sign, style)
            if question == chosen:
                cursor = Style(reverse=True, bold=self.has_focus)
                cell = Segment(cell.text, (cell.style or plain) + cursor)
            segments += [cell, gap]
        return Strip(segments).adjust_cell_length(width, plain)

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        row_index = offset.y + self.scroll_offset.y
        if row_index < len(self._rows) and offset.x // 2 < len(self._rows[row_index].cells):
            self._choose(self._rows[row_index].cells[offset.x // 2])

    def action_move(self, step: int) -> None:
        """Move the cursor by questions."""
        self.action_jump(max(0, self._position + step))

    def action_move_row(self, step: int) -> None:
        """Move the cursor by rows."""
        self.action_jump(max(0, self._position + step * self._per_row))

    def action_jump(self, position: int) -> None:
        """Move the cursor to a question by its place; -1 is the last."""
        if self.questions:
            last = len(self.questions) - 1
            self._choose(self.questions[last if position < 0 else min(position, last)])

    @property
    def _position(self) -> int:
        return self._place_of.get(self.chosen or "", 0)

    def _choose(self, question: str) -> None:
        self.chosen = question
        self.post_message(self.Chosen(question))
