"""Help: what one does on a screen, and all its keys."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown, Static


class HelpScreen(ModalScreen[None]):
    """Shows text and keys.

    Args:
        text: Markdown.
        keys: Keys, what they do, and the name by which a keymap changes them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Back", id="help.back"),
    ]

    def __init__(self, text: str, keys: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__()
        self._text, self._keys = text, keys

    @classmethod
    def about(cls, screen: Screen[object]) -> "HelpScreen":
        """Return the help for a screen as it stands."""
        keys = {
            (
                screen.app.get_key_display(active.binding),
                active.binding.tooltip or active.binding.description,
                active.binding.id or "",
            ): None
            for active in screen.active_bindings.values()
            if active.binding.id and active.binding.description
        }
        return cls(getattr(screen, "HELP_TEXT", ""), tuple(keys))

    def compose(self) -> ComposeResult:
        """Lay out text and keys."""
        with VerticalScroll(classes="dialog -tall") as scroll:
            scroll.border_title = "Help"
            scroll.border_subtitle = "Escape closes"
            if self._text:
                yield Markdown(self._text)
            table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
            for heading in ("Key", "Does", "Name in keymap.toml"):
                table.add_column(heading, justify="left")
            for key, does, name in self._keys:
                table.add_row(Text(key, style="bold"), Text(does), Text(name, style="dim"))
            yield Static(table)

    def on_mount(self) -> None:
        """Let the keys scroll."""
        self.query_one(VerticalScroll).focus()
