"""How an audit stands while it runs: the score against the queries, or a line-up's race."""

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from audit.asking.events import Standing
from audit.tui.widgets.plots.evidence_plot import Curve, EvidencePlot, curve_of
from audit.tui.widgets.plots.race_plot import RacePlot
from audit.verdict.line_up_race import LineUpRace


class LivePlot(Container):
    """Shows the one plot that the deciding score has."""

    DEFAULT_CSS = """
    LivePlot { height: 1fr; }
    LivePlot > RacePlot { display: none; }
    LivePlot.-racing > RacePlot { display: block; }
    LivePlot.-racing > EvidencePlot { display: none; }
    """

    def compose(self) -> ComposeResult:
        """Lay out both."""
        yield EvidencePlot()
        yield RacePlot()

    @property
    def curve(self) -> Curve | None:
        """Return the curve that is shown."""
        return self.query_one(EvidencePlot).curve

    def show_standing(self, event: Standing) -> None:
        """Draw how things stand."""
        curve = curve_of(event.score, event.evidence, self.curve, boundaries=event.boundaries)
        self.show(curve, event.race)

    def show(self, curve: Curve | None, race: LineUpRace | None) -> None:
        """Draw a curve, or a race where there is one."""
        self.query_one(EvidencePlot).curve = curve
        self.set_class(race is not None, "-racing")
        self.query_one(RacePlot).race = race
        if race is not None and isinstance(self.parent, Widget):
            self.parent.border_title = "Race of the line-up"
