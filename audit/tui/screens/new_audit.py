"""New audit: what to ask whom, checked while it is typed."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from adapters.endpoint.grants import Need
from adapters.printable import printable
from audit.asking.plan import SCORES
from audit.suspects.found_files import SuspectKind
from audit.tui.dialogs.ask_path import AskPath
from audit.tui.dialogs.confirm import Confirm
from audit.tui.navigation import WatchAudit
from audit.tui.order_check import COPIES, Checked, Form, check_form
from audit.tui.running import Order, needs_of
from audit.tui.screens.base import KinprintScreen
from audit.tui.widgets.check import Check
from audit.tui.widgets.form_row import FormRow

OWN_SCORE = ""


class FormChecked(Message):
    """A check of the form is done."""

    def __init__(self, form: Form, checked: Checked) -> None:
        super().__init__()
        self.form, self.checked = form, checked


class NeedsKnown(Message):
    """It is known what an endpoint file wants to use and nobody has allowed."""

    def __init__(self, form: Form, order: Order, needs: tuple[Need, ...]) -> None:
        super().__init__()
        self.form, self.order, self.needs = form, order, needs


class NewAuditScreen(KinprintScreen):
    """A form; Ctrl+S starts.

    Args:
        bundle_path: What to begin with.
        suspect_path: Likewise.
    """

    PLACE = "Home / New audit"
    HELP_TEXT = """\
The audit shows the suspect labelled **control images** first. If it gets them wrong, nothing else
is asked, and you are told what to look at. Then come the queries that decide.

- *Budget* is the most images that are asked, control images included; an audit that it ends can go
  on with a larger one.
- *Stop early* ends the audit as soon as the verdict is certain, at hardly larger error rates.
- *Alpha* and *beta* are the bundle's own rates unless you ask for others that its models support.
- What an endpoint charges and how fast it may be asked stands in its TOML file; *Requests/s* asks
  it more slowly, or faster.
- A secret that such a file names goes nowhere before you have allowed it for that host.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", id="new.start", priority=True, tooltip="Start"),
        Binding("ctrl+o", "browse", "Browse", id="new.browse", tooltip="Choose in the file tree"),
        Binding("ctrl+t", "trust", "Trust key", id="new.trust", tooltip="Trust an owner's key"),
        Binding("escape", "leave", "Back", id="new.back", tooltip="Back to Home"),
        Binding("up", "app.focus_previous", "Up", show=False, id="new.up"),
        Binding("down", "app.focus_next", "Down", show=False, id="new.down"),
    ]

    def __init__(self, *, bundle_path: Path | None, suspect_path: Path | None) -> None:
        super().__init__()
        self._bundle_path, self._suspect_path = bundle_path, suspect_path
        self._checked: FormChecked | None = None
        self._known_kind: SuspectKind | None = None
        self._wants_start = False
        self._usual_notes: dict[str, str] = {}

    def body(self) -> Iterable[Widget]:
        """Lay out the form, what it means, and the button."""
        scores = [
            ("the bundle's own", OWN_SCORE),
            ("look for copies only", COPIES),
            *((score, score) for score in SCORES),
        ]
        yield VerticalScroll(
            FormRow("Bundle", Input(self._text(self._bundle_path), compact=True), id="bundle"),
            FormRow("Suspect", Input(self._text(self._suspect_path), compact=True), id="suspect"),
            FormRow(
                "Score",
                Select(scores, value=OWN_SCORE, allow_blank=False, compact=True),
                told="the score that decides",
                id="score",
            ),
            FormRow(
                "Answers",
                Check("use labels only", compact=True),
                told="as if it told nothing else",
                id="labels-only",
            ),
            FormRow("Alpha", Input(placeholder="the bundle's", compact=True), id="alpha"),
            FormRow("Beta", Input(placeholder="the bundle's", compact=True), id="beta"),
            FormRow(
                "Stop early",
                Check("as soon as it is certain", compact=True),
                told="usual where answers cost",
                id="stop-early",
            ),
            FormRow(
                "Budget",
                Input(placeholder="all", compact=True),
                told="most images asked, controls too",
                id="budget",
            ),
            FormRow(
                "Requests/s",
                Input(placeholder="as its file says", compact=True),
                told="most requests a second",
                id="rate",
            ),
            FormRow(
                "Spend at most",
                Input(placeholder="no limit", compact=True),
                told="in the endpoint's currency",
                id="max-cost",
            ),
            FormRow(
                "Go on",
                Check("with the unfinished audit", compact=True, disabled=True),
                told="none to go on with",
                id="resume",
            ),
            id="form",
        )
        yield Static("", id="summary", markup=False)
        yield Horizontal(
            Button("Start (Ctrl+S)", variant="primary", id="start", compact=True, disabled=True),
            Static("", id="state", markup=False),
            id="start-row",
        )

    def on_mount(self) -> None:
        """Check what the form begins with."""
        self.query_one("#suspect" if self._bundle_path else "#bundle").focus()
        self._check()

    def on_screen_resume(self) -> None:
        """Check again: files and journal may have changed meanwhile."""
        self._check()

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Check.Changed)
    def _check(self) -> None:
        if not self.is_mounted:
            return
        self._check_in_thread(self._form())

    @work(thread=True, exclusive=True, group="check")
    def _check_in_thread(self, form: Form) -> None:
        checked = check_form(form, self.desk, self.library)
        self.post_message(FormChecked(form, checked))

    def on_form_checked(self, event: FormChecked) -> None:
        """Say what is wrong, or what the audit will do."""
        if event.form != self._form():
            return  # it has changed since
        self._checked, checked = event, event.checked
        for row in self.query(FormRow):
            name = (row.id or "").removeprefix("row-").replace("-", "_")
            row.problem = checked.problems.get(name, "")
            row.told = checked.notes.get(name) or self._usual_notes.setdefault(name, row.told)
        self._follow_kind(checked.kind)
        resume = self.query_one("#resume", Check)
        if (checked.unfinished is None) != resume.disabled:
            resume.disabled = checked.unfinished is None
            resume.value = checked.unfinished is not None
            if checked.unfinished is None:
                self.query_one("#row-resume", FormRow).told = "none to go on with"
        self.query_one("#start", Button).disabled = checked.order is None
        self.query_one("#summary", Static).update(self._summary(checked))
        if self._wants_start:
            self.action_start()

    def _summary(self, checked: Checked) -> Content:
        if checked.problems:
            return Content("\n").join(
                Content.styled(f"✗ {name.replace('_', ' ')}: {printable(told)}", "$warning")
                for name, told in checked.problems.items()
            )
        return Content.assemble(Content.styled("What happens  ", "dim"), printable(checked.summary))

    def _follow_kind(self, kind: SuspectKind | None) -> None:
        """Stop early at endpoints unless the user says otherwise; what costs is only for them."""
        if kind is None or kind is self._known_kind:
            return
        self._known_kind = kind
        self.query_one("#stop-early", Check).value = kind is SuspectKind.ENDPOINT
        is_endpoint = kind is SuspectKind.ENDPOINT
        for name in ("max-cost", "rate"):
            self.query_one(f"#{name}", Input).disabled = not is_endpoint
        told = {
            "max-cost": "in the endpoint's currency" if is_endpoint else "a file costs nothing",
            "rate": "most requests a second" if is_endpoint else "a file is asked at full speed",
        }
        for name, text in told.items():
            self._usual_notes[name.replace("-", "_")] = text
            self.query_one(f"#row-{name}", FormRow).told = text

    def _form(self) -> Form:
        score = self.query_one("#score", Select).value
        return Form(
            bundle=self.query_one("#bundle", Input).value,
            suspect=self.query_one("#suspect", Input).value,
            score=score if isinstance(score, str) else OWN_SCORE,
            labels_only=self.query_one("#labels-only", Check).value,
            alpha=self.query_one("#alpha", Input).value,
            beta=self.query_one("#beta", Input).value,
            stop_early=self.query_one("#stop-early", Check).value,
            budget=self.query_one("#budget", Input).value,
            rate=self.query_one("#rate", Input).value,
            max_cost=self.query_one("#max-cost", Input).value,
            resume=self.query_one("#resume", Check).value,
        )

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.app.action_focus_next()

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Begin the audit, once the form has been checked as it stands."""
        if self.app.screen is not self:
            return
        # What was checked before the last change is not what the user wants now.
        self._wants_start = self._checked is None or self._checked.form != self._form()
        if self._checked is None or self._wants_start:
            return
        checked = self._checked.checked
        if checked.order is None:
            wrong = ", ".join(name.replace("_", " ") for name in checked.problems)
            self.notify(f"Not yet: look at {wrong}.", severity="warning")
            return
        self._look_in_thread(self._checked.form, checked.order)

    @work(thread=True, exclusive=True, group="needs")
    def _look_in_thread(self, form: Form, order: Order) -> None:
        self.post_message(NeedsKnown(form, order, needs_of(order, self.desk)))

    def on_needs_known(self, event: NeedsKnown) -> None:
        """Begin, or ask whether an endpoint file may use what it wants."""
        if self.app.screen is not self or event.form != self._form():
            return  # the user has gone on since
        if not event.needs:
            self.go(WatchAudit(order=event.order), replaces=True)
            return

        def answered(is_allowed: bool | None) -> None:
            if is_allowed:
                trouble = self.desk.grant(event.needs)
                until = f"until you quit ({trouble})" if trouble else "from now on"
                self.notify(f"Allowed {until}. Start begins the audit.", markup=False)
                self._check()

        self.app.push_screen(
            Confirm(
                f"Let {printable(event.order.suspect.path.name)} use this?",
                "\n".join(need.told for need in event.needs),
                yes="Allow it",
            ),
            answered,
        )

    def action_browse(self) -> None:
        """Choose bundle or suspect in the file tree."""
        is_bundle = self.query_one("#bundle").has_focus
        name = "bundle" if is_bundle else "suspect"

        def chosen(path: Path | None) -> None:
            if path is not None:
                self.query_one(f"#{name}", Input).value = self._text(path)

        suffixes = (".kinprint",) if is_bundle else (".onnx", ".toml")
        self.app.push_screen(AskPath(f"Which {name}?", self.desk.folder, suffixes=suffixes), chosen)

    def action_trust(self) -> None:
        """Ask for a public key to trust."""
        self.ask_for_key(self.desk.folder, then=self._check)

    def _text(self, path: Path | None) -> str:
        if path is None:
            return ""
        folder = self.desk.folder
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
