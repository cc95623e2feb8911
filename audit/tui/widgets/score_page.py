"""Second page of a result: each score, its lines, and the models that it is compared with."""

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from adapters.printable import printable
from audit.tui.result_data import ResultData
from audit.tui.widgets.facts import Facts
from audit.tui.widgets.plots.evidence_plot import EvidencePlot
from audit.tui.widgets.plots.score_strip import ScoreStrip
from audit.verdict.outcome import Likeness, ScoreOutcome


class ScorePage(VerticalScroll):
    """The score that decides, then the others.

    Args:
        data: Whose result.
        scores: Its scores, that which decides first.
        folder: Where its bundle was looked for.
    """

    def __init__(self, data: ResultData, scores: tuple[ScoreOutcome, ...], folder: Path) -> None:
        super().__init__()
        self._data, self._scores, self._folder = data, scores, folder

    def compose(self) -> ComposeResult:
        """Lay out words, numbers and figures of each."""
        data = self._data
        for index, score in enumerate(self._scores):
            decides = "decides" if index == 0 else "for comparison"
            yield Static(
                Content.assemble(
                    Content.styled(f"{score.name} ({decides}, from {score.access})", "bold"),
                    f"\n{printable(score.reason)}",
                ),
                classes="prose",
            )
            yield Facts(score_facts(score), id=f"facts-{index}")
            if data.strips:
                yield ScoreStrip(id=f"strip-{index}")
            if index == 0 and data.curve is not None:
                yield EvidencePlot(id="result-plot")
        if not data.strips:
            yield Static(data.no_bundle(self._folder), classes="prose", markup=False)

    def on_mount(self) -> None:
        """Draw the figures."""
        for index, strip in enumerate(self._data.strips):
            self.query_one(f"#strip-{index}", ScoreStrip).data = strip
        if self._data.curve is not None:
            self.query_one(EvidencePlot).curve = self._data.curve


_LIKE = {
    Likeness.INNOCENT: "innocent models",
    Likeness.DERIVED: "derived models",
    Likeness.NEITHER: "neither kind of model",
    Likeness.BOTH: "both kinds of models",
}


def _compared_with(score: ScoreOutcome) -> str:
    told = f"{score.num_innocents} innocent, {score.num_derived} derived models"
    if score.num_lineages < score.num_innocents:
        return f"{told}; {score.num_lineages} innocent lineages"
    return told


def score_facts(score: ScoreOutcome) -> tuple[tuple[str, str], ...]:
    """Return what a score says, as names and values."""
    above, below = score.derived_above, score.independent_below
    rows = [
        ("score", f"{score.value:.4f}"),
        ("derived above", "no line: too few innocents" if above is None else f"{above:.4f}"),
        ("independent below", "no line: too few derived" if below is None else f"{below:.4f}"),
        ("p-value", f"{score.p_value:.4g}, the smallest possible {score.smallest_p_value:.4g}"),
        (
            "p, derived",
            f"{score.p_derived:.4g}, the smallest possible {score.smallest_p_derived:.4g}",
        ),
        ("is like", _LIKE[score.likeness]),
        ("queries", f"{score.num_queries} of {score.num_in_bundle}, {score.num_refused} refused"),
        ("compared with", _compared_with(score)),
    ]
    rows += [(f"p, {stratum}", f"{value:.4g}") for stratum, value in score.strata.items()]
    return tuple(rows)
