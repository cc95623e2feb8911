"""First page of a result: what was found, how sure it is, and what does not follow."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from adapters.printable import printable
from audit.report.weights_sureness import layer_rows
from audit.tui.result_data import ResultData
from audit.tui.widgets.confusion_table import ConfusionTable, likely_causes
from audit.tui.widgets.plots.layer_strip import LayerStrip
from audit.tui.widgets.plots.race_plot import RacePlot
from audit.tui.widgets.plots.score_strip import ScoreStrip, StripData


class VerdictPage(VerticalScroll):
    """The report's words, under the score that decides.

    Args:
        data: Whose verdict.
    """

    def __init__(self, data: ResultData) -> None:
        super().__init__()
        self._data = data

    @property
    def _has_steps(self) -> bool:
        return self._data.outcome is not None and self._data.outcome.steps is not None

    def _strip(self) -> StripData:
        """Return the strip of step one, above the race of step two, or that of the one score."""
        data = self._data
        named = data.outcome.steps.crafted if data.outcome and data.outcome.steps else None
        return next((one for one in data.strips if one.score.name == named), data.strips[0])

    def compose(self) -> ComposeResult:
        """Lay out the strip, what may be wrong, and the words."""
        data, told = self._data, self._data.words
        if data.strips:
            yield ScoreStrip(id="first-strip")
        if data.race is not None and self._has_steps:
            yield RacePlot(id="first-race")
        weights = None if data.outcome is None else data.outcome.weights
        if weights is not None and weights.similarities:
            rows = layer_rows(data.record.opening.bundle.manifest.weights, weights)
            yield LayerStrip(rows, weights)
        if data.confusion is not None:
            yield Static(likely_causes(data.confusion), classes="prose")
        parts: list[Content] = []
        for title, sentences in (
            ("What was done and found", told.found),
            ("How sure it is", told.sureness),
            ("What does not follow", told.beyond),
        ):
            if sentences:
                parts += [Content.styled(title, "bold $primary"), Content("\n")]
                parts += [Content(f"{_plain(sentence)}\n") for sentence in sentences]
                parts.append(Content("\n"))
        yield Static(Content.assemble(*parts), classes="prose")
        if data.confusion is not None:
            yield ConfusionTable(id="wrong-controls")

    def on_mount(self) -> None:
        """Draw the figures."""
        data = self._data
        if data.strips:
            self.query_one(ScoreStrip).data = self._strip()
        if data.race is not None and self._has_steps:
            self.query_one(RacePlot).race = data.race
        if data.confusion is not None and data.bundle is not None:
            names = data.bundle.manifest.task.class_names
            self.query_one(ConfusionTable).show(data.confusion, names)


def _plain(sentence: str) -> str:
    """Return a sentence in characters that a terminal shows."""
    return printable(sentence.replace("\u00a0", " "))
