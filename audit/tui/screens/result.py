"""Result: the verdict in words, what it rests on, where it came from, and its export."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from adapters.printable import printable
from audit.errors import AuditError
from audit.records.record import State
from audit.tui.live_state import mark_of
from audit.tui.looking import looked_at
from audit.tui.navigation import OpenCompare, OpenExport, OpenNewAudit, OpenResult
from audit.tui.result_data import ResultData, result_data
from audit.tui.screens.base import KinprintScreen
from audit.tui.widgets.confusion_table import ConfusionTable
from audit.tui.widgets.evidence_plot import EvidencePlot
from audit.tui.widgets.facts import Facts
from audit.tui.widgets.image_pair import ImagePair
from audit.tui.widgets.query_grid import QueryGrid
from audit.tui.widgets.score_strip import ScoreStrip
from audit.tui.widgets.verdict_banner import BannerData, VerdictBanner
from audit.verdict.outcome import ScoreOutcome, Verdict


class Loaded(Message):
    """The result was collected, or could not be."""

    def __init__(self, data: ResultData | None, problem: str) -> None:
        super().__init__()
        self.data, self.problem = data, problem


class ResultScreen(KinprintScreen):
    """Shows one audit of the journal.

    Args:
        wanted: Which one, and where it and its bundle are.
    """

    PLACE = "Home / Result"
    HELP_TEXT = """\
The first page says what was found, how sure it is and what does **not** follow. The others show the
numbers: the suspect's score among those of innocent and derived models, p-values by kind of
innocent model, every answer, and where bundle, suspect and answers come from.

*x* exports a signed record, an HTML page or JSON; *y* copies the verdict and what it rests on.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "export", "Export", id="result.export", tooltip="Record, HTML or JSON"),
        Binding("y", "copy", "Copy", id="result.copy", tooltip="Copy verdict and reasons"),
        Binding("g", "go_on", "Go on", id="result.resume", tooltip="Go on with this audit"),
        Binding("c", "compare", "Compare", id="result.compare", tooltip="Audits of this bundle"),
        Binding("1", "page('verdict')", "Verdict", id="result.verdict", show=False),
        Binding("2", "page('scores')", "Scores", id="result.scores", show=False),
        Binding("3", "page('answers')", "Answers", id="result.answers", show=False),
        Binding("4", "page('origin')", "Origin", id="result.origin", show=False),
        Binding("escape", "leave", "Back", id="result.back", tooltip="Back to Home"),
    ]

    def __init__(self, wanted: OpenResult) -> None:
        super().__init__()
        self._wanted = wanted
        self.data: ResultData | None = None

    def body(self) -> Iterable[Widget]:
        """Lay out the verdict above the pages."""
        yield VerdictBanner(id="banner")
        pages = TabbedContent(id="pages")
        pages.loading = True
        yield pages

    def on_mount(self) -> None:
        """Begin to collect."""
        self._load()

    @work(thread=True, exclusive=True, group="load")
    def _load(self) -> None:
        wanted = self._wanted
        try:
            data = result_data(
                wanted.journal or self.desk.journal,
                wanted.audit,
                bundle=wanted.bundle,
                bundle_path=wanted.bundle_path,
                bundles=wanted.bundles,
            )
        except AuditError as error:
            self.post_message(Loaded(None, str(error)))
            return
        self.post_message(Loaded(data, ""))

    async def on_loaded(self, event: Loaded) -> None:
        """Show it."""
        pages = self.query_one("#pages", TabbedContent)
        pages.loading = False
        banner = self.query_one(VerdictBanner)
        if event.data is None:
            banner.data = BannerData(headline=f"✗ {event.problem}", rests_on="Escape leaves.")
            return
        data = self.data = event.data
        self.set_place(f"Home / Result of {printable(data.record.opening.suspect.name)}")
        self.set_note(printable(data.record.opening.bundle.manifest.model_name))
        banner.data = banner_of(data)
        for title, name, widgets in (
            ("1 Verdict", "verdict", self._verdict_page(data)),
            ("2 Scores", "scores", self._score_page(data)),
            ("3 Answers", "answers", self._answer_page(data)),
            ("4 Origin", "origin", self._origin_page(data)),
        ):
            await pages.add_pane(TabPane(title, *widgets, id=name))
        self._fill(data)
        self.refresh_bindings()
        self.query_one("#verdict VerticalScroll").focus()

    def _verdict_page(self, data: ResultData) -> list[Widget]:
        told = data.words
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
        widgets: list[Widget] = [Static(Content.assemble(*parts), classes="prose")]
        if data.confusion is not None:
            causes = "\n".join(f"· {printable(cause)}" for cause in data.confusion.likely_causes)
            widgets.insert(
                0,
                Static(
                    Content.assemble(
                        Content.styled("What to look at", "bold $primary"), f"\n{causes}\n"
                    ),
                    classes="prose",
                ),
            )
            widgets.append(ConfusionTable(id="confusion"))
        if data.strips:
            widgets.insert(0, ScoreStrip(id="first-strip"))
        return [VerticalScroll(*widgets)]

    def _score_page(self, data: ResultData) -> list[Widget]:
        if data.outcome is None or not data.outcome.scores:
            return [Static("No score: the audit has not come that far.", classes="prose")]
        widgets: list[Widget] = []
        for index, score in enumerate(data.outcome.scores):
            decides = "decides" if index == 0 else "for comparison"
            widgets.append(
                Static(
                    Content.assemble(
                        Content.styled(f"{score.name} ({decides}, from {score.access})", "bold"),
                        f"\n{printable(score.reason)}",
                    ),
                    classes="prose",
                )
            )
            widgets.append(Facts(score_facts(score), id=f"facts-{index}"))
            if data.strips:
                widgets.append(ScoreStrip(id=f"strip-{index}"))
            if index == 0 and data.curve is not None:
                widgets.append(EvidencePlot(id="result-plot"))
        if not data.strips:
            widgets.append(Static(self._no_bundle(data), classes="prose"))
        return [VerticalScroll(*widgets)]

    def _answer_page(self, data: ResultData) -> list[Widget]:
        if data.bundle is None:
            return [Static(self._no_bundle(data), classes="prose")]
        return [
            Container(
                Vertical(QueryGrid(id="grid"), classes="panel"),
                Vertical(ImagePair(id="pair"), classes="panel"),
                id="answers-split",
            )
        ]

    def _origin_page(self, data: ResultData) -> list[Widget]:
        widgets: list[Widget] = []
        for title, rows in data.facts.items():
            if title != "Record":  # there is none yet: this is what it would say
                widgets += [Static(title, classes="facts-title"), Facts(rows)]
        return [VerticalScroll(*widgets)]

    def _no_bundle(self, data: ResultData) -> str:
        return (
            f"The bundle {data.record.opening.bundle.sha256[:16]} is not in {self.desk.folder}, so "
            "that images and the comparison models' scores cannot be shown. Open its folder with "
            "f on Home."
        )

    def _fill(self, data: ResultData) -> None:
        for index, strip in enumerate(data.strips):
            self.query_one(f"#strip-{index}", ScoreStrip).data = strip
        if data.strips:
            self.query_one("#first-strip", ScoreStrip).data = data.strips[0]
        if data.curve is not None and self.query("#result-plot"):
            self.query_one("#result-plot", EvidencePlot).curve = data.curve
        if data.confusion is not None and data.bundle is not None:
            self.query_one(ConfusionTable).show(
                data.confusion, data.bundle.manifest.task.class_names
            )
        if data.bundle is None:
            return
        grid = self.query_one(QueryGrid)
        grid.questions = tuple(row.question for row in data.record.rows)
        grid.marks = {
            question: mark_of(data.bundle, question, answer.label)
            for question, answer in data.answers.items()
        }
        if first := most_telling(data):
            grid.chosen = first
            self._look(first)

    @on(QueryGrid.Chosen)
    def _chosen(self, event: QueryGrid.Chosen) -> None:
        self._look(event.question)

    def _look(self, question: str) -> None:
        data = self.data
        if data is not None and data.bundle is not None:
            label = data.answers[question].label
            self.query_one(ImagePair).looked = looked_at(data.bundle, question, label)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show only the keys that do something now."""
        if action in ("go_on", "compare") and self._wanted.journal is not None:
            return False  # a sweep goes on, and compares, by itself
        if action == "go_on":
            return self.data is not None and self.data.state is not State.COMPLETE
        return action not in ("export", "copy", "compare") or self.data is not None

    def action_page(self, name: str) -> None:
        """Turn to a page."""
        pages = self.query_one("#pages", TabbedContent)
        if pages.query(f"#{name}"):
            pages.active = name
            for focusable in self.query_one(f"#{name}").query("VerticalScroll, QueryGrid"):
                focusable.focus()
                break

    def action_copy(self) -> None:
        """Copy verdict and reasons as text."""
        if self.data is not None:
            self.app.copy_to_clipboard(self.data.copied_text())
            self.notify("Verdict and reasons are copied, if the terminal allows it.")

    def action_export(self) -> None:
        """Ask where to, and write."""
        if self.data is not None:
            self.go(OpenExport(data=self.data, journal=self._wanted.journal))

    def action_compare(self) -> None:
        """Show all audits of this bundle."""
        if self.data is not None:
            digest = self.data.record.opening.bundle.sha256
            self.go(OpenCompare(digest=digest, bundles=self._wanted.bundles))

    def action_go_on(self) -> None:
        """Go on with an audit that is not complete, by way of the form."""
        data = self.data
        if data is None:
            return
        suspect = self.desk.find_suspect(data.record.opening.suspect.name)
        self.go(OpenNewAudit(bundle_path=data.bundle_path, suspect_path=suspect), replaces=True)


def banner_of(data: ResultData) -> BannerData:
    """Return the verdict of a result."""
    outcome = data.outcome
    if outcome is None:
        return BannerData(headline=data.words.headline, rests_on="g goes on with it.")
    rests_on = outcome.text
    if data.state is State.BUDGET:
        rests_on += " g goes on with a larger budget."
    return BannerData(
        headline=data.words.headline,
        rests_on=rests_on,
        verdict=Verdict.INCONCLUSIVE if data.state is State.BUDGET else outcome.verdict,
        is_final=True,
    )


def most_telling(data: ResultData) -> str | None:
    """Return the question whose answer says most; the first one without evidence."""
    if data.evidence is not None and len(data.evidence.queries):
        place = data.evidence.weights.argmax()
        return f"query/{data.evidence.queries[place]}"
    return data.record.rows[0].question if data.record.rows else None


def score_facts(score: ScoreOutcome) -> tuple[tuple[str, str], ...]:
    """Return what a score says, as names and values."""
    above, below = score.derived_above, score.independent_below
    rows = [
        ("score", f"{score.value:.4f}"),
        ("derived above", "no line: too few innocents" if above is None else f"{above:.4f}"),
        ("independent below", "no line: too few derived" if below is None else f"{below:.4f}"),
        ("p-value", f"{score.p_value:.4g}, the smallest possible {score.smallest_p_value:.4g}"),
        ("queries", f"{score.num_queries} of {score.num_in_bundle}, {score.num_refused} refused"),
        ("compared with", f"{score.num_innocents} innocent, {score.num_derived} derived models"),
    ]
    rows += [(f"p, {stratum}", f"{value:.4g}") for stratum, value in score.strata.items()]
    return tuple(rows)


def _plain(sentence: str) -> str:
    """Return a sentence in characters that a terminal shows."""
    return printable(sentence.replace("\u00a0", " "))
