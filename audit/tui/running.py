"""An audit in a thread: opens the suspect, follows the session, posts messages, touches no widget.

Events are posted in bunches, so that an audit at full speed leaves the screen time to draw.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.message import Message

from adapters.class_map import SharedNameError
from adapters.endpoint.grants import Need, NotGrantedError
from adapters.suspect import Capability, Suspect, SuspectError
from audit.asking.events import Answered, AuditEvent, Finished, Started
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
from audit.tui.messages import AnswersKnown, AuditFailed, EventsArrived, SuspectOpened
from audit.verdict.rule import read_rule

POST_EVERY_S = 0.15
"""At most one bunch of events in so many seconds."""
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
    """Posts what an audit tells: answers in bunches, anything else at once.

    Args:
        post: Takes messages, from any thread.
    """

    def __init__(self, post: Callable[[Message], object]) -> None:
        self.post = post
        self._lock = threading.Lock()
        self._bunch: list[AuditEvent] = []
        self._posted = 0.0

    def add(self, event: AuditEvent) -> None:
        """Post an event, or keep it for the next bunch."""
        with self._lock:
            self._bunch.append(event)
        # Anything but an answer is worth a look at once.
        if not isinstance(event, Answered) or time.monotonic() > self._posted + POST_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Post what was kept: a suspect that falls silent must not hide its last answers."""
        with self._lock:
            if self._bunch:
                self.post(EventsArrived(tuple(self._bunch)))
                self._bunch.clear()
                self._posted = time.monotonic()


def run_order(order: Order, desk: Desk, control: AuditControl, outbox: Outbox) -> None:
    """Run an audit to its end; whatever happens becomes a message.

    Args:
        order: What to audit.
        desk: Where the journal is.
        control: Pauses and stops it.
        outbox: Takes messages, from this thread.
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
        outbox.post(AuditFailed(error))


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
        outbox.post(SuspectOpened(suspect, questions_of(session.reach), lambda: session.spending))
        try:
            for event in session.run():
                if isinstance(event, Started | Finished):
                    outbox.post(AnswersKnown(session.answers))
                outbox.add(event)
        finally:
            outbox.flush()
    finally:
        journal.close()
