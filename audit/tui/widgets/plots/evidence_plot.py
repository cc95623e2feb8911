"""The running score against the queries answered, between the two decision lines."""

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widgets import Static
from textual_plotext import PlotextPlot

from audit.scores.evidence import QueryEvidence
from audit.tui.words import plot_colour
from audit.verdict.conformal_path import Boundaries
from audit.verdict.outcome import ScoreOutcome


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """What there is to plot."""

    score: ScoreOutcome
    num_queries: int
    """Queries of the bundle, the right end of the axis."""
    counts: NDArray[np.float64]
    """Queries answered, ``[P]``."""
    values: NDArray[np.float64]
    """The score after so many, ``[P]``."""
    boundaries: Boundaries | None = None
    """What it runs between until it decides; None where all queries are asked first."""


def curve_of(
    score: ScoreOutcome,
    evidence: QueryEvidence | None,
    earlier: Curve | None = None,
    *,
    boundaries: Boundaries | None = None,
) -> Curve:
    """Return the curve up to now.

    Args:
        score: The deciding score of the answers so far.
        evidence: Query by query, where the score has queries.
        earlier: The curve before, for a score that is only known now and then.
        boundaries: What the score runs between; by default those of the curve before.
    """
    if boundaries is None and earlier is not None:
        boundaries = earlier.boundaries
    if evidence is not None:
        counts = np.arange(1, len(evidence.suspect) + 1, dtype=np.float64)
        values = np.cumsum(evidence.suspect) / counts
    else:
        counts, values = np.array([float(score.num_queries)]), np.array([score.value])
        if earlier is not None and earlier.score.name == score.name:
            older = earlier.counts < score.num_queries
            counts = np.append(earlier.counts[older], counts)
            values = np.append(earlier.values[older], values)
    return Curve(
        score=score,
        num_queries=score.num_in_bundle,
        counts=counts,
        values=values,
        boundaries=boundaries,
    )


class EvidencePlot(Vertical):
    """Plots a `Curve`, with the same numbers as text below."""

    DEFAULT_CSS = """
    EvidencePlot { height: 1fr; min-height: 6; }
    EvidencePlot > PlotextPlot { height: 1fr; }
    EvidencePlot > #numbers { height: 3; color: $text-muted; padding: 0 1; }
    """

    curve: reactive[Curve | None] = reactive(None, init=False)

    def compose(self) -> ComposeResult:
        """Lay out plot and text."""
        yield PlotextPlot()
        yield Static("The score appears with the first answered query.", id="numbers")

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def watch_curve(self) -> None:
        """Draw anew."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        plot = self.query_one(PlotextPlot)
        plt = plot.plt
        plt.clear_figure()
        curve = self.curve
        plot.display = curve is not None and len(curve.counts) > 0
        if curve is None or not len(curve.counts):
            return
        above, below = decision_lines(curve)
        ends = [float(line[1][-1]) for line in (above, below) if line]
        low, high = min([*curve.values, *ends]), max([*curve.values, *ends])
        margin = 0.08 * (high - low) or 0.1
        low, high = low - margin, high + margin
        plt.ylim(low, high)
        plt.yticks(*ticks(low, high))
        plt.xlim(0, max(curve.num_queries, 1))
        for line, colour in ((above, "error"), (below, "success")):
            # A boundary comes from far away; it is drawn from where it enters the picture.
            shown = [(x, y) for x, y in zip(*line, strict=True) if low <= y <= high] if line else []
            if shown:
                xs, ys = zip(*shown, strict=True)
                plt.plot(list(xs), list(ys), marker="hd", color=plot_colour(self.app, colour))
        plt.xticks(*count_ticks(curve.num_queries))
        plt.plot(
            list(curve.counts),
            list(curve.values),
            marker="hd",
            color=plot_colour(self.app, "primary"),
        )
        for line, colour, told in (
            (above, "error", "derived above"),
            (below, "success", "independent below"),
        ):
            if line:
                # The right end of the axis is where the curve comes last.
                plt.text(
                    told,
                    curve.num_queries,
                    float(line[1][-1]),
                    alignment="right",
                    color=plot_colour(self.app, colour),
                    background=plot_colour(self.app, "surface"),
                )
        plt.xaxes(True, False)
        plt.yaxes(True, False)
        plot.refresh()
        self.query_one("#numbers", Static).update(curve_in_words(curve), layout=False)


_Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Counts of queries and scores."""


def decision_lines(curve: Curve) -> tuple[_Line | None, _Line | None]:
    """Return where "derived" begins and where "independent" ends, each as counts and scores.

    Where an audit may stop early these are boundaries that close in on the score; else they are
    the thresholds of the score over all queries, the same everywhere.
    """
    if curve.boundaries is None:
        ends = np.array([0.0, max(curve.num_queries, 1)])
        score = curve.score
        flat = [
            None if value is None else (ends, np.full(2, value))
            for value in (score.derived_above, score.independent_below)
        ]
        return flat[0], flat[1]
    lines: list[_Line | None] = []
    for boundary in (curve.boundaries.derived, curve.boundaries.independent):
        known = np.flatnonzero(np.isfinite(boundary))
        lines.append(((known + 1).astype(np.float64), boundary[known]) if len(known) else None)
    return lines[0], lines[1]


def ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return round numbers between two scores, and how they are written.

    Example:
        >>> ticks(-1.27, 2.63)
        ([-1.0, 0.0, 1.0, 2.0], ['-1', '+0', '+1', '+2'])
    """
    span = (high - low) or 1.0
    step = 10.0 ** floor(log10(span))
    step = next(one for one in (step / 5, step / 2, step, step * 2) if span / one < 5)
    places = [step * count for count in range(ceil(low / step), floor(high / step) + 1)]
    digits = max(0, -floor(log10(step)))
    return places, [f"{place:+.{digits}f}" for place in places]


def count_ticks(num_queries: int) -> tuple[list[float], list[str]]:
    """Return whole numbers of queries for an axis.

    Example:
        >>> count_ticks(24)
        ([0.0, 6.0, 12.0, 18.0, 24.0], ['0', '6', '12', '18', '24'])
    """
    places = [round(num_queries * quarter / 4) for quarter in range(5)]
    return [float(place) for place in places], [str(place) for place in places]


def curve_in_words(curve: Curve) -> str:
    """Return the numbers of a curve."""
    score = curve.score
    told = f"{score.name} {score.value:+.3f} after {score.num_queries} of {curve.num_queries}"
    above, below = score.derived_above, score.independent_below
    told += f" ─ derived above {above:+.3f}" if above is not None else " ─ no line for derived"
    return told + (
        f" ─ independent below {below:+.3f}" if below is not None else " ─ none for independent"
    )
