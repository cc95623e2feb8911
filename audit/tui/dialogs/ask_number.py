"""Asks for a whole number."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class AskNumber(ModalScreen[int | None]):
    """Returns the number, or None if nobody wants to say.

    Args:
        question: What it is for.
        value: What stands in the field.
        at_least: Smallest number that makes sense.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="number.cancel"),
    ]

    def __init__(self, question: str, *, value: int, at_least: int) -> None:
        super().__init__()
        self._question, self._value, self._at_least = question, value, at_least

    def compose(self) -> ComposeResult:
        """Lay out the field."""
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="dialog-title", markup=False)
            yield Input(str(self._value), id="number", type="integer", compact=True)
            yield Static("", id="number-problem", classes="problem", markup=False)
            yield Static("Enter takes it, Escape leaves.", classes="dialog-text")

    def on_mount(self) -> None:
        """Begin in the field."""
        self.query_one("#number").focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if not event.value.isdecimal() or int(event.value) < self._at_least:
            self.query_one("#number-problem", Static).update(
                f"✗ expected {self._at_least} or more, got {event.value!r}"
            )
            return
        self.dismiss(int(event.value))

    def action_cancel(self) -> None:
        """Return nothing."""
        self.dismiss(None)
