"""One line of a form: name, field, and what is to be said about it."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from adapters.printable import printable


class FormRow(Horizontal):
    """Shows `problem` where there is one, else `told`."""

    DEFAULT_CSS = """
    FormRow { height: 1; }
    FormRow > .name { width: 15; color: $text-muted; padding: 0 1; }
    FormRow > .field { width: 30; }
    FormRow > .told { width: 1fr; height: 1; padding: 0 1; color: $text-muted; }
    FormRow > .told { text-wrap: nowrap; text-overflow: ellipsis; }
    FormRow.-wrong > .told { color: $error; }
    FormRow.-wrong > .name { color: $error; }
    """

    told: reactive[str] = reactive("", init=False)
    problem: reactive[str] = reactive("", init=False)

    def __init__(self, name: str, field: Widget, *, told: str = "", id: str) -> None:
        super().__init__(id=f"row-{id}")
        self._heading, self._field = name, field
        field.id = id
        field.add_class("field")
        self.set_reactive(FormRow.told, told)

    def compose(self) -> ComposeResult:
        """Lay out the line."""
        yield Static(self._heading, classes="name", markup=False)
        yield self._field
        yield Static(self.told, classes="told", markup=False)

    def watch_told(self) -> None:
        """Say it."""
        self._say()

    def watch_problem(self) -> None:
        """Say it."""
        self._say()

    def _say(self) -> None:
        self.set_class(bool(self.problem), "-wrong")
        told = f"✗ {self.problem}" if self.problem else self.told
        self.query_one(".told", Static).update(printable(told))
        self.query_one(".told", Static).tooltip = printable(told) or None
