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
from audit.tui.widgets.plots.race_plot import RacePlot
from audit.tui.widgets.plots.score_strip import ScoreStrip
from audit.verdict.line_up_outcome import LineUpOutcome
from audit.verdict.outcome import Likeness, ScoreOutcome, StepsOutcome


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
        steps = None if data.outcome is None else data.outcome.steps
        for index, score in enumerate(self._scores):
            decides = "decides" if index == 0 else "for comparison"
            if steps is not None and score.line_up is not None:
                decides = "step two"
            elif steps is not None and score.name == steps.crafted:
                decides = "step one"
            yield Static(
                Content.assemble(
                    Content.styled(f"{score.name} ({decides}, from {score.access})", "bold"),
                    f"\n{printable(score.reason)}",
                ),
                classes="prose",
            )
            yield Facts(score_facts(score), id=f"facts-{index}")
            if data.strips and score.line_up is None:
                yield ScoreStrip(id=f"strip-{index}")
            if score.line_up is not None and data.race is not None:
                yield RacePlot(id="result-race")
            if data.curve is not None and score is self._curved(steps):
                yield EvidencePlot(id="result-plot")
        if not data.strips:
            yield Static(data.no_bundle(self._folder), classes="prose", markup=False)

    def _curved(self, steps: StepsOutcome | None) -> ScoreOutcome:
        """Return the score whose curve is drawn: that of step one, or the one that decides."""
        named = self._scores[0].name if steps is None else steps.crafted
        return next(score for score in self._scores if score.name == named)

    def on_mount(self) -> None:
        """Draw the figures."""
        for index, strip in enumerate(self._data.strips):
            if strip.score.line_up is not None:
                continue
            self.query_one(f"#strip-{index}", ScoreStrip).data = strip
        if self._data.curve is not None:
            self.query_one(EvidencePlot).curve = self._data.curve
        if self._data.race is not None:
            self.query_one(RacePlot).race = self._data.race


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
    if score.line_up is not None:
        return _line_up_facts(score, score.line_up)
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


def _line_up_facts(score: ScoreOutcome, found: LineUpOutcome) -> tuple[tuple[str, str], ...]:
    members = len(found.leads)
    kinds = {"line-up": "rank among its siblings", "innocents": "rank among innocents"}
    rows = [
        (
            "source",
            f"number {found.rank} of {members}, {score.value:+.2f} nats to the best sibling",
        ),
        (
            "p-value",
            f"{score.p_value:.4g} ({kinds[found.basis]}), the smallest possible "
            f"{score.smallest_p_value:.4g}",
        ),
        ("questions", f"{score.num_queries} of {score.num_in_bundle}, {score.num_refused} refused"),
        (
            "innocents",
            f"{found.num_lineages_as_far} of {found.num_lineages} networks of the panel as far",
        ),
        ("fair", "nothing speaks against it" if found.unfair is None else found.unfair),
    ]
    rows += [
        (f"found, {kind}", f"{one.num_found} of {one.num_models}")
        for kind, one in found.power.items()
    ]
    return tuple(rows)
