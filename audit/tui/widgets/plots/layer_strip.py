"""How alike a file's weights are to the source's: a sign a layer, from the input to the output."""

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from audit.report.weights_sureness import LayerRow
from audit.tui.words import theme_colour
from audit.verdict.weights.weights_outcome import WeightsOutcome

SIGNS = ((0.75, "█"), (0.5, "▓"), (0.25, "▒"), (-1.0, "░"))
"""By the similarity from which on they stand."""
ABSENT = "·"
"""Of a layer that the file does not have."""


def sign_of(row: LayerRow) -> str:
    """Return the sign of a layer."""
    if row.similarity is None:
        return ABSENT
    return next(sign for least, sign in SIGNS if row.similarity >= least)


class LayerStrip(Widget):
    """Draws the layers of a result.

    Args:
        rows: The source's layers.
        weights: What they come to.
    """

    DEFAULT_CSS = "LayerStrip { height: auto; width: 1fr; margin: 0 1 1 1; max-width: 120; }"

    def __init__(self, rows: Sequence[LayerRow], weights: WeightsOutcome) -> None:
        super().__init__()
        self._rows, self._weights = rows, weights

    def render(self) -> Text:
        """Return the strip, its meaning and its mean."""
        weights = self._weights
        told = Text("Weights, layer by layer, from the input on: ", style="bold")
        colour = "error" if weights.is_derived else "text-muted"
        told.append("".join(map(sign_of, self._rows)), style=theme_colour(self.app, colour))
        value = "none" if weights.value is None else f"{weights.value:z.3f}"
        above = "no line" if weights.derived_above is None else f"{weights.derived_above:z.3f}"
        told.append(
            f"\nmean {value}, derived above {above}, p = {weights.p_value:.3g}; "
            "█ from 0.75, ▓ from 0.5, ▒ from 0.25, ░ less, · not there",
            style=theme_colour(self.app, "text-muted"),
        )
        return told
