"""How far derived and innocent models are apart after so many queries."""

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widgets import Static
from textual_plotext import PlotextPlot

from audit.scores.query_budget import QueryBudget
from audit.tui.widgets.plots.evidence_plot import count_ticks, ticks
from audit.tui.words import plot_colour


class BudgetPlot(Vertical):
    """Plots a `QueryBudget`, with its numbers as text below."""

    DEFAULT_CSS = """
    BudgetPlot > PlotextPlot { height: 1fr; }
    BudgetPlot > #numbers { height: auto; padding: 0 1; color: $text-muted; }
    """

    budget: reactive[QueryBudget | None] = reactive(None, init=False)

    def compose(self) -> ComposeResult:
        """Lay out plot and text."""
        yield PlotextPlot()
        yield Static("No curve: it takes queries, and models of both roles.", id="numbers")

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def watch_budget(self) -> None:
        """Draw anew."""
        self._draw()

    def _draw(self) -> None:
        budget = self.budget
        if not self.is_mounted:
            return
        plot = self.query_one(PlotextPlot)
        plot.display = budget is not None
        if budget is None:
            return
        plt = plot.plt
        plt.clear_figure()
        counts = list(range(1, len(budget.derived_min) + 1))
        for values, colour, sign, label in (
            (budget.derived_min, "error", "+", "lowest derived model"),
            (budget.innocent_max, "success", "o", "highest innocent model"),
        ):
            plt.plot(
                counts,
                list(values),
                marker=sign,
                color=plot_colour(self.app, colour),
                label=label,
            )
        # The first few means jump about and would press the rest flat.
        settled = min(len(counts) // 20 + 2, len(counts) - 1)
        shown = np.concatenate([budget.derived_min[settled:], budget.innocent_max[settled:]])
        low, high = float(shown.min()), float(shown.max())
        margin = 0.1 * (high - low) or 0.1
        plt.ylim(low - margin, high + 3 * margin)
        plt.yticks(*ticks(low, high))
        plt.xticks(*count_ticks(len(counts)))
        plt.xaxes(True, False)
        plt.yaxes(True, False)
        plot.refresh()
        self.query_one("#numbers", Static).update(budget_in_words(budget))


def budget_in_words(budget: QueryBudget) -> str:
    """Return the numbers of a curve."""
    total = len(budget.share_above)
    told = [
        f"{budget.share_above[num - 1]:.0%} after {num}"
        for num in dict.fromkeys((1, total // 10, total // 4, total // 2, total))
        if num >= 1
    ]
    lines = [f"Derived models above every innocent one: {', '.join(told)} queries."]
    if budget.num_needed is not None:
        lines.append(
            f"From {budget.num_needed} queries on all of them are; an audit needs more than that, "
            "since it must also be sure."
        )
    else:
        lines.append("Some derived model stays among the innocents to the end.")
    return "\n".join(lines)
