"""The race of a line-up: a line for each member over the questions, the source's in colour."""

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widgets import Static
from textual_plotext import PlotextPlot

from audit.tui.widgets.plots.evidence_plot import count_ticks, ticks
from audit.tui.words import plot_colour
from audit.verdict.line_up_race import LineUpRace

_MAX_POINTS = 120
"""Along a line; a terminal shows no more, and plotting takes its time."""


class RacePlot(Vertical):
    """Plots a race, with the same numbers as text below."""

    DEFAULT_CSS = """
    RacePlot { height: 1fr; min-height: 6; }
    RacePlot > PlotextPlot { height: 1fr; }
    RacePlot > #places { height: 2; color: $text-muted; padding: 0 1; }
    """

    race: reactive[LineUpRace | None] = reactive(None, init=False)

    def compose(self) -> ComposeResult:
        """Lay out plot and text."""
        yield PlotextPlot()
        yield Static("The race begins with the first question of the line-up.", id="places")

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def watch_race(self) -> None:
        """Draw anew."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        plot, race = self.query_one(PlotextPlot), self.race
        plt = plot.plt
        plt.clear_figure()
        plot.display = race is not None and race.num_questions > 0
        if race is None or not race.num_questions:
            return
        # Everybody starts at 0, before the first question.
        leads = np.concatenate([np.zeros((len(race.scores), 1)), race.race.leads], axis=1)
        counts = np.unique(np.linspace(0, race.num_questions, _MAX_POINTS).round().astype(int))
        low, high = float(leads.min()), float(leads.max())
        margin = 0.08 * (high - low) or 0.1
        plt.ylim(low - margin, high + margin)
        plt.yticks(*ticks(low, high))
        plt.xlim(0, max(race.num_questions, 1))
        plt.xticks(*count_ticks(race.num_questions))
        # The source last, so that no sibling is drawn over it.
        siblings = [place for place in range(len(leads)) if place != race.source]
        for place in (*siblings, race.source):
            is_source = place == race.source
            plt.plot(
                counts.tolist(),
                leads[place, counts].tolist(),
                marker="hd" if is_source else "braille",
                color=plot_colour(self.app, "error" if is_source else "text-muted"),
            )
        plt.text(
            "source",
            race.num_questions,
            float(leads[race.source, -1]),
            alignment="right",
            color=plot_colour(self.app, "error"),
            background=plot_colour(self.app, "surface"),
        )
        plt.xaxes(True, False)
        plt.yaxes(True, False)
        plot.refresh()
        self.query_one("#places", Static).update(race_in_words(race), layout=False)


def race_in_words(race: LineUpRace) -> str:
    """Return where the source stands, and who leads."""
    scores = race.scores
    rank = int((scores >= scores[race.source]).sum())
    leads = race.final_leads
    siblings = [lead for place, lead in enumerate(leads) if place != race.source]
    told = (
        f"source {leads[race.source]:+.1f}, number {rank} of {len(scores)} after "
        f"{race.num_questions} questions ─ best sibling {max(siblings):+.1f} nats"
    )
    if race.led_after is None:
        return told
    leader = "the source" if rank == 1 else "a sibling"
    return f"{told} ─ {leader} leads by more than {race.lead_bound:g}"
