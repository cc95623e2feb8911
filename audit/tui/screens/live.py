"""Live audit: what was asked, what came back, and what it would come to."""

import gc
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import ProgressBar, Static

from adapters.printable import printable
from adapters.suspect import Suspect
from audit.asking.events import Answered, AuditEvent, Finished, Standing, Started, Stopped
from audit.asking.pause_and_stop import AuditControl
from audit.journal.attempt_log import Spending
from audit.tui.dialogs.ask_number import AskNumber
from audit.tui.dialogs.confirm import Confirm
from audit.tui.live_state import LiveState, Phase
from audit.tui.looking import looked_at
from audit.tui.messages import AnswersKnown, AuditFailed, NewsWaits, SuspectOpened
from audit.tui.navigation import GoBack, Leaving, OpenResult, Quit
from audit.tui.running import Order, Outbox, run_order
from audit.tui.screens.base import KinprintScreen
from audit.tui.widgets.audit_log import AuditLog
from audit.tui.widgets.confusion_table import ConfusionTable, likely_causes
from audit.tui.widgets.image_pair import ImagePair
from audit.tui.widgets.plots.live_plot import LivePlot
from audit.tui.widgets.plots.meters import Meters
from audit.tui.widgets.query_grid import QueryGrid
from audit.tui.widgets.verdict_banner import BannerData, VerdictBanner
from audit.verdict.outcome import Verdict

TICK_S = 0.5
LOOK_EVERY_S = 0.4
"""How often the newest answer's image is shown."""


class LiveScreen(KinprintScreen):
    """Runs one audit in a thread and shows it.

    Args:
        order: What to audit.
    """

    PLACE = "Home / Audit"
    HELP_TEXT = """\
Everything that comes back is in the journal before it is shown: you can stop, quit or lose the
connection at any time and go on later; nothing is asked twice.

- The **plot** shows the score after each query, between the line above which a suspect counts as
  derived and the one below which it counts as independent.
- The **grid** has one sign per image: ■ the source's own answer, □ another one, · not asked yet,
  ! no class given; control images are ■ right or x wrong. Arrow keys choose one to look at; *f*
  follows the newest answer again.
- *p* pauses and goes on, *s* stops and keeps everything, *b* asks more than the budget.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "result", "Result", id="live.result", tooltip="Show the result"),
        Binding("p", "pause", "Pause", id="live.pause", tooltip="Pause, or go on"),
        Binding("s", "stop", "Stop", id="live.stop", tooltip="Stop and keep what was answered"),
        Binding("g", "go_on", "Go on", id="live.resume", tooltip="Go on with a stopped audit"),
        Binding("b", "budget", "Budget", id="live.budget", tooltip="Change the budget"),
        Binding("f", "follow", "Follow", id="live.follow", tooltip="Look at the newest answer"),
        Binding("e", "log", "Log", id="live.log", show=False, tooltip="Show or hide the log"),
        Binding("escape", "leave", "Back", id="live.back", tooltip="Leave this audit"),
    ]

    def __init__(self, order: Order) -> None:
        super().__init__()
        self._order = order
        self._control = AuditControl()
        self._outbox = Outbox(lambda: self.post_message(NewsWaits()))
        self._suspect: Suspect | None = None
        self._spending: Callable[[], Spending | None] = lambda: None
        self._state = LiveState(order.bundle)
        self._is_following = True
        self._next_look = 0.0
        self._keys_shown: tuple[Phase, bool] | None = None
        self._leaves_after: Leaving | None = None
        self._new_order: Order | None = None

    @property
    def is_asking(self) -> bool:
        """Whether questions may still be asked."""
        return self._state.phase in (Phase.OPENING, Phase.ASKING)

    def body(self) -> Iterable[Widget]:
        """Lay out verdict, figures, plot, grid, image and log."""
        yield VerdictBanner(id="banner", is_steady=True)
        yield ProgressBar(id="progress", show_eta=False, show_percentage=False)
        yield Meters(id="meters")
        yield Container(
            Vertical(
                LivePlot(id="plot"),
                VerticalScroll(Static("", id="causes"), ConfusionTable(), id="confusion"),
                classes="panel",
                id="plot-panel",
            ),
            Vertical(QueryGrid(id="grid"), classes="panel", id="grid-panel"),
            Vertical(ImagePair(id="pair"), classes="panel", id="pair-panel"),
            Vertical(AuditLog(id="log"), classes="panel", id="log-panel"),
            id="live",
        )

    def on_mount(self) -> None:
        """Begin."""
        suspect = self._order.suspect
        self.set_place(f"Home / Audit of {printable(suspect.path.name)}")
        self.set_note(printable(self._order.bundle.manifest.model_name))
        for name, title in (
            ("grid", "Questions"),
            ("pair", "Image"),
            ("log", "Log"),
        ):
            self.query_one(f"#{name}-panel").border_title = title
        self.query_one(QueryGrid).focus()
        self.set_interval(TICK_S, self._tick)
        self._begin()

    def on_unmount(self) -> None:
        """Never leave a thread behind that goes on asking."""
        self._control.stop()
        gc.unfreeze()

    def _begin(self) -> None:
        self._control = AuditControl()
        self._suspect = None
        self._state.begin()
        self.query_one("#live").remove_class("-confused")
        self.query_one("#plot-panel").border_title = "Score against queries"
        self._log(f"opening {self._order.suspect.path.name}")
        self._draw()
        self._run(self._order, self._control, self._outbox)

    @work(thread=True, group="audit")
    def _run(self, order: Order, control: AuditControl, outbox: Outbox) -> None:
        run_order(order, self.desk, control, outbox)

    def on_news_waits(self) -> None:
        """Take in what the audit told."""
        self._take_news()

    def _take_news(self) -> None:
        """Take in all news, then draw once."""
        news = self._outbox.take()
        if not news:
            return
        for one in news:
            match one:
                case SuspectOpened():
                    self._opened(one)
                case AnswersKnown():
                    self._state.know(one.answers)
                case AuditFailed():
                    self._state.failed(one.error)
                    self._log(f"error: {one.error}")
                case _:
                    self._take(one)
        if any(isinstance(one, Answered) for one in news):
            self._show_marks(self._state.newest)
        self._draw()
        if isinstance(news[-1], Finished | Stopped | AuditFailed):
            self._ended()

    def _opened(self, opened: SuspectOpened) -> None:
        """Show what will be asked."""
        self._suspect = opened.suspect
        # A full collection looks at every object of numpy, plotext and Textual and holds up keys
        # for a tenth of a second; none of those goes away during an audit.
        gc.freeze()
        identity = opened.suspect.identity
        self._log(f"opened {identity.name}, which tells {opened.suspect.capability.name.lower()}")
        self._spending = opened.spending
        self.query_one(QueryGrid).questions = opened.audit_questions
        self.query_one(ProgressBar).update(total=len(opened.audit_questions), progress=0)

    def _take(self, event: AuditEvent) -> None:
        state = self._state
        state.take(event)
        self.query_one(AuditLog).follow(event)
        match event:
            case Started():
                self._show_marks(None)
            case Standing():
                self.query_one(LivePlot).show_standing(event)
            case Stopped():
                self._show_marks(state.newest)
            case Finished():
                self._show_marks(state.newest)
                if event.outcome.verdict is Verdict.NOT_COMPARABLE:
                    self._show_confusion()
                plot, options = self.query_one(LivePlot), self._order.options
                plot.show(state.final_curve(plot.curve), state.final_race(options))

    def _show_confusion(self) -> None:
        """Show in the plot's place what became of the control images, and what may be wrong."""
        confusion = self._state.confusion()
        self.query_one("#causes", Static).update(likely_causes(confusion))
        names = self._order.bundle.manifest.task.class_names
        self.query_one(ConfusionTable).show(confusion, names)
        self.query_one("#plot-panel").border_title = "Control images"
        self.query_one("#live").add_class("-confused")

    def _ended(self) -> None:
        """The thread is through: do what was waiting for it."""
        if self._leaves_after is not None:
            self.go(self._leaves_after)
        elif self._new_order is not None and self._state.phase is not Phase.FINISHED:
            self._order, self._new_order = self._new_order, None
            self._begin()
        self._new_order = None

    def _show_marks(self, newest: str | None) -> None:
        grid = self.query_one(QueryGrid)
        grid.marks = self._state.marks
        if newest is not None and self._is_following:
            # Whoever watches cannot see more, and the image of a probe takes its time.
            now = time.monotonic()
            if now < self._next_look and self._state.phase is Phase.ASKING:
                return
            self._next_look = now + LOOK_EVERY_S
            grid.chosen = newest
            self._look(newest)
        elif grid.chosen is not None:
            self._look(grid.chosen)

    def _look(self, question: str) -> None:
        answer = self._state.labels.get(question)
        self.query_one(ImagePair).looked = looked_at(self._order.bundle, question, answer)

    @on(QueryGrid.Chosen)
    def _chosen(self, event: QueryGrid.Chosen) -> None:
        self._is_following = False
        self._look(event.question)

    def _tick(self) -> None:
        if self.is_asking:
            self._take_news()  # a suspect that falls silent must not hide its last answers
            newest = self._state.newest
            if self._is_following and newest not in (None, self.query_one(QueryGrid).chosen):
                self._show_marks(newest)  # the last answers came too fast to look at each
            self._draw()

    def _draw(self) -> None:
        state = self._state
        self.query_one(Meters).values = state.meters(time.monotonic(), self._spending())
        self.query_one(ProgressBar).update(
            total=max(state.num_questions, 1), progress=state.num_answered
        )
        self.query_one(VerdictBanner).data = self._banner()
        # The key hints are laid out anew only when they change: that takes longer than the rest.
        keys = (state.phase, state.can_ask_more)
        if keys != self._keys_shown:
            self._keys_shown = keys
            self.refresh_bindings()

    def _banner(self) -> BannerData:
        return self._state.banner(
            is_pausing=self._control.is_paused,
            is_waiting=self._control.is_waiting,
            is_stopping=self._control.is_stopped,
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show only the keys that do something now."""
        phase = self._state.phase
        match action:
            case "pause" | "stop":
                return self.is_asking
            case "go_on":
                return phase in (Phase.STOPPED, Phase.FAILED)
            case "budget":
                return phase is not Phase.FINISHED or self._state.can_ask_more
            case "result":
                return phase is Phase.FINISHED
        return True

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self._control.is_paused:
            self._control.resume()
            self._log("going on")
        else:
            self._control.pause()
            self._log("pausing after the questions that are under way")
        self._draw()

    def action_stop(self) -> None:
        """Stop; a second time breaks off what is under way."""
        if self._control.is_stopped:
            self._break_off()
            return
        self._control.stop()
        self._log("stopping after the questions that are under way; s again breaks them off")
        self._draw()

    def _break_off(self) -> None:
        if self._suspect is not None:
            self._log("breaking off what is under way")
            self._close_suspect(self._suspect)

    @work(thread=True, group="close")
    def _close_suspect(self, suspect: Suspect) -> None:
        suspect.close()

    def action_go_on(self) -> None:
        """Go on with what is missing."""
        self._order = self._order.resuming(self._state.has_begun)
        self._begin()

    def action_budget(self) -> None:
        """Ask for another budget, and go on with it."""
        state = self._state

        def chosen(budget: int | None) -> None:
            if budget is None:
                return
            order = self._order.with_budget(budget)
            if self.is_asking:
                self._new_order = order.resuming()
                self._control.stop()
                self._log(f"going on with a budget of {budget}")
            elif state.phase is not Phase.FINISHED or state.can_ask_more:
                self._order = order.resuming(state.has_begun)
                self._begin()

        self.app.push_screen(
            AskNumber(
                "Ask at most how many images, control images included?",
                value=self._order.options.budget or state.num_questions,
                at_least=state.num_answered + 1,
            ),
            chosen,
        )

    def action_follow(self) -> None:
        """Look at the newest answer again."""
        self._is_following = True
        if self._state.newest is not None:
            self._show_marks(self._state.newest)

    def action_log(self) -> None:
        """Show or hide the log."""
        self.query_one("#live").toggle_class("-with-log")

    def action_result(self) -> None:
        """Show the result."""
        if self._state.audit is not None and self._state.phase is Phase.FINISHED:
            self.go(
                OpenResult(
                    audit=self._state.audit,
                    bundle=self._order.bundle,
                    bundle_path=self._order.bundle_path,
                ),
                replaces=True,
            )

    def action_leave(self) -> None:
        """Leave; an audit that runs is stopped first."""
        self.leave(GoBack())

    def leave(self, step: Leaving) -> None:
        """Go back or quit, after asking if an audit runs."""
        if not self.is_asking:
            self.go(step)
            return
        if self._leaves_after is not None:
            # Asked and answered before: do not wait for the suspect any longer.
            self._leaves_after = step
            self._break_off()
            return

        def answered(is_sure: bool | None) -> None:
            if not is_sure:
                return
            if not self.is_asking:
                self.leave(step)
                return
            self._leaves_after = step
            self._control.stop()
            self._draw()

        quits = isinstance(step, Quit)
        self.app.push_screen(
            Confirm(
                "Stop this audit and quit?" if quits else "Stop this audit?",
                f"{self._state.num_answered} of {self._state.num_questions} questions are answered "
                "and kept; the audit can go on later and asks none of them again.",
                yes="Stop and quit" if quits else "Stop it",
                no="Keep asking",
            ),
            answered,
        )

    def _log(self, text: str) -> None:
        self.query_one(AuditLog).note(text)
