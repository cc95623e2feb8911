"""What all screens have in common: title, key hints, and what to say when it is too small."""

from collections.abc import Callable, Iterable
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from audit.errors import AuditError
from audit.tui.desk import Desk
from audit.tui.dialogs.ask_path import AskPath
from audit.tui.library import Library
from audit.tui.navigation import GoBack, Leaving, Navigate, Opening
from audit.tui.shared import shared_by
from audit.tui.widgets.title_bar import TitleBar

MIN_WIDTH, MIN_HEIGHT = 70, 20
"""Cells below which nothing useful fits."""


class KinprintScreen(Screen[None]):
    """A whole screen; subclasses compose their `body`."""

    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (typed so by Textual)
        (0, "-narrow"),
        (110, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-high")]  # noqa: RUF012 (likewise)

    PLACE = ""
    """Its name in the title."""
    HELP_TEXT = ""
    """What one does here, for the help; Markdown."""

    @property
    def desk(self) -> Desk:
        """Return where things lie."""
        return shared_by(self.app).desk

    @property
    def library(self) -> Library:
        """Return what has been read already."""
        return shared_by(self.app).library

    def compose(self) -> ComposeResult:
        """Lay out title, body and key hints."""
        yield TitleBar(self.PLACE)
        with Vertical(id="body"):
            yield from self.body()
        yield Static("", id="too-small", markup=False)
        yield Footer(compact=True)

    def body(self) -> Iterable[Widget]:
        """Return the screen's own widgets."""
        return ()

    def on_resize(self, event: events.Resize) -> None:
        """Say so where the terminal is too small."""
        width, height = event.size
        is_tiny = width < MIN_WIDTH or height < MIN_HEIGHT
        self.set_class(is_tiny, "-tiny")
        for notice in self.query("#too-small").results(Static) if is_tiny else ():
            notice.update(
                f"This window is {width} x {height}.\nKinprint needs {MIN_WIDTH} x {MIN_HEIGHT}: "
                "enlarge it,\nor use kinprint audit."
            )

    def go(self, step: Opening | Leaving, *, replaces: bool = False) -> None:
        """Ask the app for the next screen.

        Args:
            step: Where to.
            replaces: It takes this one's place, so that Back leads to what was below.
        """
        # To the app itself: what a key with priority posts would not rise to it.
        self.app.post_message(Navigate(self, step, replaces=replaces))

    def action_leave(self) -> None:
        """Go back."""
        self.go(GoBack())

    def ask_for_key(self, folder: Path, then: Callable[[], object]) -> None:
        """Ask for an owner's public key and trust it until the program ends.

        Args:
            folder: Where to look for it.
            then: Called once it is trusted.
        """

        def chosen(path: Path | None) -> None:
            if path is not None and self._trust(path):
                then()

        self.app.push_screen(
            AskPath("Trust the owner's public key in", folder, suffixes=(".pub",)), chosen
        )

    def _trust(self, path: Path) -> bool:
        try:
            key = self.desk.trust_key(path)
        except AuditError as error:
            self.notify(str(error), title="Not trusted", severity="error")
            return False
        self.notify(
            f"Key {key.key_id[:16]} counts until you quit; kinprint looks in "
            "its trusted folder for keys that always count.",
            title="Trusted",
        )
        return True

    def set_note(self, note: str) -> None:
        """Show a note at the right of the title."""
        self.query_one(TitleBar).note = note

    def set_place(self, place: str) -> None:
        """Show where one is."""
        self.query_one(TitleBar).place = place
