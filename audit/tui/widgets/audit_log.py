"""What happened in an audit, a line each, the newest below."""

from textual.widgets import RichLog

from adapters.printable import printable
from audit.asking.events import (
    Answered,
    AuditEvent,
    ControlsChecked,
    Finished,
    Started,
    Stopped,
)

MAX_LINES = 2000


class AuditLog(RichLog):
    """Takes notes of the audit's events, and of what the user does."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id, max_lines=MAX_LINES, min_width=10, wrap=True, markup=False, highlight=False
        )

    def note(self, text: str) -> None:
        """Add a line; the text may come from anywhere."""
        self.write(printable(text))

    def follow(self, event: AuditEvent) -> None:
        """Note an event that is worth a line."""
        match event:
            case Started():
                self.note(
                    f"audit {event.audit}: {event.num_questions} questions, "
                    f"{event.num_answered} answered before"
                )
            case Answered() if event.num_attempts > 1:
                self.note(f"{event.questions[0]} took {event.num_attempts} requests")
            case ControlsChecked(check=check):
                told = "comparable" if check.comparable else "NOT comparable"
                self.note(
                    f"control images: {check.accuracy:.0%} right, the source "
                    f"{check.source_accuracy:.0%}, at least {check.min_accuracy:.0%}: {told}"
                )
            case Stopped():
                self.note(
                    f"stopped after {event.num_answered} of {event.num_questions}; all answers are "
                    "kept"
                )
            case Finished():
                self.note(f"{event.outcome.verdict.value}: {event.outcome.text}")
