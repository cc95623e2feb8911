"""Bundle inspector: what a bundle says, who signed it, its images, its models, its queries."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from adapters.printable import printable
from audit.bundle.inspection import SignatureState, inspect_bundle
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.scores.query_budget import QueryBudget, query_budget
from audit.suspects.found_files import FoundBundle, read_found_bundle
from audit.tui.navigation import OpenNewAudit
from audit.tui.screens.base import KinprintScreen
from audit.tui.widgets.facts import Facts
from audit.tui.widgets.pages import lay_pages
from audit.tui.widgets.plots.budget_plot import BudgetPlot
from audit.tui.widgets.trigger_sheet import TriggerSheet
from audit.tui.widgets.verdict_banner import BannerData, VerdictBanner


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What there is to show."""

    found: FoundBundle
    rows: tuple[tuple[str, str], ...]
    budget: QueryBudget | None


class Inspection(Message):
    """The bundle was read."""

    def __init__(self, inspected: Inspected) -> None:
        super().__init__()
        self.inspected = inspected


class InspectorScreen(KinprintScreen):
    """Shows one bundle.

    Args:
        path: The file.
    """

    PLACE = "Home / Bundle"
    HELP_TEXT = """\
A bundle counts only with a valid signature by a key that you trust: where anybody else signed it,
everything here is a claim.

- **Images**: each trigger beside its clean image and the amplified difference; queries below.
- **References**: the models whose stored answers set the thresholds, by kind.
- **Queries**: how many queries it takes until derived and innocent models are apart.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_audit", "New audit", id="inspector.new", tooltip="Audit with it"),
        Binding("t", "trust", "Trust key", id="inspector.trust", tooltip="Trust the owner's key"),
        Binding("1", "page('manifest')", "Manifest", id="inspector.manifest", show=False),
        Binding("2", "page('images')", "Images", id="inspector.images", show=False),
        Binding("3", "page('references')", "References", id="inspector.references", show=False),
        Binding("4", "page('queries')", "Queries", id="inspector.queries", show=False),
        Binding("escape", "leave", "Back", id="inspector.back", tooltip="Back"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def body(self) -> Iterable[Widget]:
        """Lay out the state above the pages."""
        yield VerdictBanner(id="banner")
        yield TabbedContent(id="pages")

    def on_mount(self) -> None:
        """Begin to read."""
        self.set_place(f"Home / {printable(self._path.name)}")
        self._read()

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        rows: tuple[tuple[str, str], ...] = ()
        budget = None
        try:
            trust = self.desk.trust()
            found = read_found_bundle(self._path, trust)
            if found.contents is not None:
                rows = tuple(inspect_bundle(self._path, trust).rows())
                budget = query_budget(found.contents)
        except AuditError as error:
            found = FoundBundle(path=self._path, state=None, reason=str(error), contents=None)
        self.post_message(Inspection(Inspected(found=found, rows=rows, budget=budget)))

    async def on_inspection(self, event: Inspection) -> None:
        """Show it."""
        shown = event.inspected
        self.query_one(VerdictBanner).data = _banner(shown.found)
        contents = shown.found.contents
        if contents is None:
            await lay_pages(self, ())
            return
        self.set_note(printable(contents.manifest.model_name))
        plot = BudgetPlot(id="budget-plot")
        await lay_pages(
            self,
            (
                TabPane("1 Manifest", VerticalScroll(Facts(shown.rows)), id="manifest"),
                TabPane("2 Images", TriggerSheet(contents), id="images"),
                TabPane("3 References", VerticalScroll(Static(_models(contents))), id="references"),
                TabPane("4 Queries", Vertical(plot), id="queries"),
            ),
        )
        plot.budget = shown.budget
        # Whoever leaves while the pages are made takes them along.
        for scroll in self.query("#manifest VerticalScroll"):
            scroll.focus()

    def action_page(self, name: str) -> None:
        """Turn to a page."""
        pages = self.query_one("#pages", TabbedContent)
        if pages.query(f"#{name}"):
            pages.active = name
            for focusable in self.query_one(f"#{name}").query("VerticalScroll"):
                focusable.focus()
                break

    def action_new_audit(self) -> None:
        """Begin an audit with the bundle."""
        self.go(OpenNewAudit(bundle_path=self._path), replaces=True)

    def action_trust(self) -> None:
        """Ask for a public key to trust."""
        self.ask_for_key(self._path.parent, then=self._read)


def _banner(found: FoundBundle) -> BannerData:
    if found.contents is None:
        return BannerData(
            headline="✗ This file is no bundle that could be used.", rests_on=found.reason
        )
    key = f"Key {found.contents.signer_key_id}."
    if found.state is SignatureState.TRUSTED:
        return BannerData(headline="✓ Signed by a key that you trust.", rests_on=key)
    return BannerData(
        headline="? Anybody can have made this bundle: its key is not trusted.",
        rests_on=f"{key} If its owner gave you this key, t trusts it.",
    )


def _models(contents: BundleContents) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), title_justify="left")
    for heading in ("Kind", "Role", "Use", "Name", "Controls"):
        table.add_column(heading, no_wrap=True, min_width=6)
    table.add_column("Provenance", no_wrap=True, overflow="ellipsis")
    models = sorted(
        contents.manifest.models, key=lambda one: (one.use, one.role, one.stratum, one.name)
    )
    last = None
    for model in models:
        kind = (model.use, model.role, model.stratum)
        table.add_row(
            Text(printable(model.stratum) if kind != last else "", style="bold"),
            Text(model.role if kind != last else ""),
            Text(model.use if kind != last else "", style="dim"),
            Text(printable(model.name)),
            Text(f"{model.control_accuracy:.1%}", justify="right"),
            Text(printable(model.provenance), style="dim"),
        )
        last = kind
    return table
