"""What an audit that runs in a thread tells the screen."""

from collections.abc import Callable

from textual.message import Message

from adapters.suspect import Suspect
from audit.answer import Answer
from audit.asking.events import AuditEvent
from audit.journal.attempt_log import Spending


class SuspectOpened(Message):
    """The suspect is ready to be asked.

    Args:
        suspect: The open suspect.
        audit_questions: Ids of all questions within the budget, in the order of asking.
        spending: Tells at any time what the audit has cost; None for a file.
    """

    def __init__(
        self,
        suspect: Suspect,
        audit_questions: tuple[str, ...],
        spending: Callable[[], Spending | None],
    ) -> None:
        super().__init__()
        self.suspect, self.audit_questions, self.spending = suspect, audit_questions, spending


class AnswersKnown(Message):
    """All answers of the audit so far, those of earlier runs included.

    Args:
        answers: By question id.
    """

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.answers = answers


class EventsArrived(Message):
    """Events of the session since the last such message, in order.

    Args:
        events: At least one.
    """

    def __init__(self, events: tuple[AuditEvent, ...]) -> None:
        super().__init__()
        self.events = events


class AuditFailed(Message):
    """The audit ended with an error; its answers are kept.

    Args:
        error: What went wrong.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
