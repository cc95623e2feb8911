"""The suspect's score among the innocents' and the derived models', one line a stratum."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from adapters.printable import printable
from audit.bundle.manifest import ModelRecord
from audit.tui.words import theme_colour
from audit.verdict.outcome import ScoreOutcome

SUSPECT, INNOCENT, DERIVED = "◆", "o", "+"
_MANY = "O#"
"""Signs where several models share a cell: innocents, derived ones."""


@dataclass(frozen=True, kw_only=True)
class StripRow:
    """One line: models of one kind."""

    name: str
    is_derived: bool
    values: tuple[float, ...]
    p_value: float | None = None
    """The suspect's rank among them; for innocents."""


@dataclass(frozen=True, kw_only=True)
class StripData:
    """What there is to draw."""

    score: ScoreOutcome
    rows: tuple[StripRow, ...]


def strip_data(score: ScoreOutcome, pairs: Sequence[tuple[ModelRecord, float]]) -> StripData:
    """Group the calibration models by role and stratum, innocents first.

    Args:
        score: The suspect's.
        pairs: Models and their scores (`audit.scores.comparison.Comparison.by_model`).
    """
    kinds = sorted({(model.role != "innocent", model.stratum) for model, _ in pairs})
    return StripData(
        score=score,
        rows=tuple(
            StripRow(
                name=stratum,
                is_derived=is_derived,
                values=tuple(
                    value
                    for model, value in pairs
                    if (model.role != "innocent", model.stratum) == (is_derived, stratum)
                ),
                p_value=None if is_derived else score.strata.get(stratum),
            )
            for is_derived, stratum in kinds
        ),
    )


class ScoreStrip(Widget):
    """Draws `data`; every dot's range stands beside it as numbers."""

    DEFAULT_CSS = "ScoreStrip { height: auto; width: 1fr; }"

    data: reactive[StripData | None] = reactive(None, layout=True)

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Text:
        """Draw all lines."""
        data = self.data
        if data is None or not data.rows:
            return Text("No calibration models answered these questions.")
        name_width = min(
            28 if self.size.width > 100 else 22, max(len(row.name) for row in data.rows) + 1
        )
        told_width = 27
        width = max(12, self.size.width - name_width - told_width - 2)
        axis = _Axis(data, width)
        lines = [self._suspect_line(data, axis, name_width)]
        last_role: bool | None = None
        for row in data.rows:
            if row.is_derived != last_role:
                last_role = row.is_derived
                role = "derived models (+)" if row.is_derived else "innocent models (o)"
                lines.append(Text(role, style="italic " + theme_colour(self.app, "text-muted")))
            lines.append(self._line(row, axis, name_width))
        lines.append(Text(" " * name_width + axis.labels()))
        lines.append(self._legend(data))
        return Text("\n", no_wrap=True, overflow="crop").join(lines)

    def _suspect_line(self, data: StripData, axis: "_Axis", name_width: int) -> Text:
        cells = axis.empty()
        cells[axis.at(data.score.value)] = SUSPECT
        line = Text("suspect".ljust(name_width), style="bold")
        line.append_text(self._marks(cells, "bold " + theme_colour(self.app, "accent")))
        return line.append(f"  {data.score.value:+.3f}")

    def _line(self, row: StripRow, axis: "_Axis", name_width: int) -> Text:
        cells = axis.empty()
        sign = DERIVED if row.is_derived else INNOCENT
        for value in row.values:
            place = axis.at(value)
            cells[place] = _MANY[row.is_derived] if cells[place] in (sign, *_MANY) else sign
        line = Text(printable(row.name)[: name_width - 1].ljust(name_width))
        colour = theme_colour(self.app, "error" if row.is_derived else "success")
        line.append_text(self._marks(cells, colour))
        low, high = min(row.values), max(row.values)
        told = f"{low:+.2f}" if len(row.values) == 1 else f"{low:+.2f} to {high:+.2f}"
        line.append(f"  {told:<15}", style=theme_colour(self.app, "text-muted"))
        return line.append("" if row.p_value is None else f"p {row.p_value:z.3f}")

    def _marks(self, cells: list[str], style: str) -> Text:
        """Return a line's cells, the decision lines in one colour throughout."""
        muted = theme_colour(self.app, "text-muted")
        return Text.assemble(*((cell, muted if cell in "┊│" else style) for cell in cells))

    def _legend(self, data: StripData) -> Text:
        score = data.score
        told = []
        if score.independent_below is not None:
            told.append(f"┊ independent below {score.independent_below:+.3f}")
        if score.derived_above is not None:
            told.append(f"│ derived above {score.derived_above:+.3f}")
        told.append("O and #: several models")
        return Text("   ".join(told), style=theme_colour(self.app, "text-muted"))


class _Axis:
    """Scores to cells."""

    def __init__(self, data: StripData, width: int) -> None:
        score = data.score
        values = [score.value, *(value for row in data.rows for value in row.values)]
        self._above, self._below = score.derived_above, score.independent_below
        values += [value for value in (self._above, self._below) if value is not None]
        self._low, self._high = min(values), max(values)
        self._width = width

    def at(self, value: float) -> int:
        """Return the cell of a score."""
        span = self._high - self._low or 1.0
        return round((value - self._low) / span * (self._width - 1))

    def empty(self) -> list[str]:
        """Return a line with nothing but the decision lines."""
        cells = [" "] * self._width
        if self._below is not None:
            cells[self.at(self._below)] = "┊"
        if self._above is not None:
            cells[self.at(self._above)] = "│"
        return cells

    def labels(self) -> str:
        """Return the ends of the axis."""
        low, high = f"{self._low:+.2f}", f"{self._high:+.2f}"
        return low + high.rjust(self._width - len(low))
