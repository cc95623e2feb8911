"""One line at the top: where one is, and what is on the desk."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.reactive import reactive
from textual.widgets import Static


class TitleBar(Horizontal):
    """Name of the program, of the screen, and a note at the right."""

    DEFAULT_CSS = """
    TitleBar { height: 1; background: $panel; }
    TitleBar > #brand { width: auto; padding: 0 1; text-style: bold; color: $primary; }
    TitleBar > #place { width: 1fr; color: $foreground; }
    TitleBar > #note { width: auto; max-width: 60%; padding: 0 1; color: $text-muted; }
    """

    place: reactive[str] = reactive("", init=False)
    note: reactive[str] = reactive("", init=False)

    def __init__(self, place: str, note: str = "") -> None:
        super().__init__()
        self.set_reactive(TitleBar.place, place)
        self.set_reactive(TitleBar.note, note)

    def compose(self) -> ComposeResult:
        """Lay out the three parts."""
        yield Static("kinprint", id="brand", markup=False)
        yield Static(self.place, id="place", markup=False)
        yield Static(self.note, id="note", markup=False)

    def watch_place(self, place: str) -> None:
        """Show it."""
        self.query_one("#place", Static).update(place)

    def watch_note(self, note: str) -> None:
        """Show it."""
        self.query_one("#note", Static).update(note)
