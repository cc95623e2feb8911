"""An audit in a thread: opens the suspect, follows the session, tells news, touches no widget.

Answers are announced in bunches, so that an audit at full speed leaves the screen time to draw.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.class_map import SharedNameError
from adapters.endpoint.grants import Need, NotGrantedError
from adapters.suspect import Capability, Suspect, SuspectError
from audit.asking.events import Answered, Finished, Started
from audit.asking.options import AuditOptions
from audit.asking.pause_and_stop import AuditControl
from audit.asking.run import merge_named_alike
from audit.asking.session import AuditSession
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.report.question_view import questions_of
from audit.suspects.found_files import FoundSuspect, SuspectKind, split_output
from audit.suspects.opening import open_described, open_file, open_remote
from audit.tui.desk import Desk
from audit.tui.messages import AnswersKnown, AuditFailed, News, SuspectOpened
from audit.verdict.rule import read_rule

ANNOUNCE_EVERY_S = 0.15
"""Answers are announced at most once in so many seconds."""
STANDING_EVERY_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to audit, and how."""

    bundle: BundleContents
    bundle_path: Path
    suspect: FoundSuspect
    options: AuditOptions = field(default_factory=lambda: AuditOptions(stop_early=False))
    labels_only: bool = False
    rate: float | None = None
    """Most requests a second to an endpoint; its own file's where this is None."""

    def resuming(self, resume: bool = True) -> "Order":
        """Return the order to go on with an unfinished audit."""
        return replace(self, options=replace(self.options, resume=resume))

    def as_begun(self, settings: Mapping[str, str]) -> "Order":
        """Return the order to go on with an audit as it began.

        Args:
            settings: The audit's, from the journal.
        """
        rule = read_rule(settings, self.bundle.manifest)
        return replace(
            self,
            labels_only=settings["capability"] == Capability.LABELS.name,
            options=replace(
                self.options,
                scores=tuple(settings["scores"].split(",")),
                in_steps=rule.steps is not None,
                look_for=rule.look_for,
                alpha=rule.alpha,
                beta=rule.beta,
                stop_early=rule.stopping_error > 0,
                resume=True,
            ),
        )

    def with_budget(self, budget: int) -> "Order":
        """Return the order with another budget."""
        return replace(self, options=replace(self.options, budget=budget))


def open_ordered(order: Order, desk: Desk) -> Suspect:
    """Open the suspect of an order.

    Raises:
        SuspectError: It cannot be opened.
    """
    path, bundle = order.suspect.path, order.bundle
    match order.suspect.kind:
        case SuspectKind.ONNX | SuspectKind.OUTPUT:
            file, output = path, None
            if order.suspect.kind is SuspectKind.OUTPUT:
                file, output = split_output(path)
            return open_file(
                bundle,
                file,
                device=desk.device,
                labels_only=order.labels_only,
                output=output,
                limits=desk.limits,
            )
        case SuspectKind.DESCRIBED:
            return open_described(
                bundle,
                path,
                device=desk.device,
                labels_only=order.labels_only,
                limits=desk.limits,
            )
        case SuspectKind.ENDPOINT:
            return open_remote(
                bundle,
                path,
                labels_only=order.labels_only,
                rate=order.rate,
                allow=desk.allow,
                looks_up=True,
            )


def needs_of(order: Order, desk: Desk) -> tuple[Need, ...]:
    """Return what the file of an endpoint wants to use and nobody has allowed.

    Looks up where its host leads, which may take a moment.
    """
    if order.suspect.kind is not SuspectKind.ENDPOINT:
        return ()
    try:
        open_ordered(order, desk).close()
    except NotGrantedError as error:
        return error.needs
    except (SuspectError, AuditError):
        pass  # the audit will tell
    return ()


class Outbox:
    """Holds what an audit tells until the screen takes it, in the order in which it happened.

    Messages of two threads may overtake one another; what waits here cannot.

    Args:
        announce: Tells the screen that something waits; called from any thread, for answers only
            now and then.
    """

    def __init__(self, announce: Callable[[], object]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._waiting: list[News] = []
        self._announced = 0.0

    def add(self, news: News) -> None:
        """Keep news for the screen."""
        with self._lock:
            self._waiting.append(news)
        # Anything but an answer is worth a look at once.
        now = time.monotonic()
        if not isinstance(news, Answered) or now > self._announced + ANNOUNCE_EVERY_S:
            self._announced = now
            self._announce()

    def take(self) -> tuple[News, ...]:
        """Return all that waits, and keep it no longer."""
        with self._lock:
            taken = tuple(self._waiting)
            self._waiting.clear()
        return taken


def run_order(order: Order, desk: Desk, control: AuditControl, outbox: Outbox) -> None:
    """Run an audit to its end; whatever happens becomes news.

    Args:
        order: What to audit.
        desk: Where the journal is.
        control: Pauses and stops it.
        outbox: Takes the news.
    """
    try:
        suspect = open_ordered(order, desk)
        try:
            try:
                _follow(order, suspect, desk, control, outbox)
            except SharedNameError as error:
                if not merge_named_alike(suspect, error):
                    raise
                _follow(order, suspect, desk, control, outbox)
        finally:
            suspect.close()
    except Exception as error:
        outbox.add(AuditFailed(error))


def _follow(
    order: Order, suspect: Suspect, desk: Desk, control: AuditControl, outbox: Outbox
) -> None:
    # SQLite connections stay in their thread.
    journal = Journal(desk.journal)
    try:
        session = AuditSession(
            order.bundle,
            suspect,
            journal,
            order.options.settled_for(order.bundle, suspect),
            control=control,
            standing_every_s=STANDING_EVERY_S,
        )
        outbox.add(SuspectOpened(suspect, questions_of(session.reach), lambda: session.spending))
        for event in session.run():
            if isinstance(event, Started | Finished):
                outbox.add(AnswersKnown(session.answers))
            outbox.add(event)
    finally:
        journal.close()
