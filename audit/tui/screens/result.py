"""Result: the verdict in words, what it rests on, where it came from, and its export."""

from collections.abc import Iterable
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from adapters.printable import printable
from audit.errors import AuditError
from audit.records.record import State
from audit.tui.navigation import OpenCompare, OpenExport, OpenNewAudit, OpenResult
from audit.tui.result_data import ResultData, result_data
from audit.tui.screens.base import KinprintScreen
from audit.tui.widgets.answer_page import AnswerPage
from audit.tui.widgets.facts import Facts
from audit.tui.widgets.pages import lay_pages
from audit.tui.widgets.score_page import ScorePage
from audit.tui.widgets.verdict_banner import BannerData, VerdictBanner
from audit.tui.widgets.verdict_page import VerdictPage
from audit.verdict.outcome import Verdict


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
        bundles = wanted.bundles
        if wanted.bundle is None and wanted.bundle_path is not None:
            bundles = (self.library.bundle(wanted.bundle_path, self.desk.trust()), *bundles)
        try:
            data = result_data(
                wanted.journal or self.desk.journal,
                wanted.audit,
                bundle=wanted.bundle,
                bundle_path=wanted.bundle_path,
                bundles=bundles or self.library.bundles(self.desk),
            )
        except AuditError as error:
            self.post_message(Loaded(None, str(error)))
            return
        self.post_message(Loaded(data, ""))

    async def on_loaded(self, event: Loaded) -> None:
        """Show it."""
        banner = self.query_one(VerdictBanner)
        if event.data is None:
            banner.data = BannerData(headline=f"✗ {event.problem}", rests_on="Escape leaves.")
            await lay_pages(self, ())
            return
        data = self.data = event.data
        self.set_place(f"Home / Result of {printable(data.record.opening.suspect.name)}")
        self.set_note(printable(data.record.opening.bundle.manifest.model_name))
        banner.data = banner_of(data)
        panes = (
            ("1 Verdict", "verdict", VerdictPage(data)),
            ("2 Scores", "scores", self._score_page(data)),
            ("3 Answers", "answers", self._answer_page(data)),
            ("4 Origin", "origin", self._origin_page(data)),
        )
        await lay_pages(self, (TabPane(title, page, id=name) for title, name, page in panes))
        self.refresh_bindings()
        # Whoever leaves while the pages are made takes them along.
        for scroll in self.query("#verdict VerticalScroll"):
            scroll.focus()

    def _score_page(self, data: ResultData) -> Widget:
        if data.outcome is None or not data.outcome.scores:
            return Static("No score: the audit has not come that far.", classes="prose")
        return ScorePage(data, data.outcome.scores, self.desk.folder)

    def _answer_page(self, data: ResultData) -> Widget:
        if data.bundle is None:
            return Static(data.no_bundle(self.desk.folder), classes="prose", markup=False)
        return AnswerPage(data, data.bundle, id="answers-split")

    def _origin_page(self, data: ResultData) -> Widget:
        widgets: list[Widget] = []
        for title, rows in data.facts.items():
            if title != "Record":  # there is none yet: this is what it would say
                widgets += [Static(title, classes="facts-title"), Facts(rows)]
        return VerticalScroll(*widgets)

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
