"""What an audit that runs in a thread tells the screen."""

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from adapters.suspect import Suspect
from audit.answer import Answer
from audit.asking.events import AuditEvent
from audit.journal.attempt_log import Spending


@dataclass(frozen=True)
class SuspectOpened:
    """The suspect is ready to be asked.

    Args:
        suspect: The open suspect.
        audit_questions: Ids of all questions within the budget, in the order of asking.
        spending: Tells at any time what the audit has cost; None for a file.
    """

    suspect: Suspect
    audit_questions: tuple[str, ...]
    spending: Callable[[], Spending | None]


@dataclass(frozen=True)
class AnswersKnown:
    """All answers of the audit so far, those of earlier runs included.

    Args:
        answers: By question id.
    """

    answers: dict[str, Answer]


@dataclass(frozen=True)
class AuditFailed:
    """The audit ended with an error; its answers are kept.

    Args:
        error: What went wrong.
    """

    error: Exception


News = SuspectOpened | AnswersKnown | AuditFailed | AuditEvent
"""What an audit tells, in the order in which it happened."""


class NewsWaits(Message):
    """The outbox of the audit holds news."""
