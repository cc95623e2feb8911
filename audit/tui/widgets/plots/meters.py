"""Names and values side by side, as many as fit in a line."""

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from audit.tui.words import theme_colour


class Meters(Widget):
    """Shows `values`; its height is fixed, since they change many times a second."""

    DEFAULT_CSS = "Meters { height: 1; padding: 0 1; }"

    values: reactive[tuple[tuple[str, str], ...]] = reactive(())

    def render(self) -> Text:
        """Draw them."""
        muted = theme_colour(self.app, "text-muted")
        told = Text()
        for position, (name, value) in enumerate(self.values):
            told.append("   " if position else "")
            # A name and its value stay on one line.
            told.append(f"{name}\u00a0".replace(" ", "\u00a0"), style=muted)
            told.append(value.replace(" ", "\u00a0"), style="bold")
        return told
