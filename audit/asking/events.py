"""What an audit tells while it runs, so that a screen, a log and a script can all follow."""

from dataclasses import dataclass

from audit.asking.class_order import ClassOrder
from audit.journal.attempt_log import Spending
from audit.scores.evidence import QueryEvidence
from audit.verdict.conformal_path import Boundaries
from audit.verdict.line_up_race import LineUpRace
from audit.verdict.outcome import ControlCheck, Outcome, ScoreOutcome


@dataclass(frozen=True, kw_only=True)
class Started:
    """The audit is about to ask."""

    audit: str
    num_questions: int
    num_answered: int
    """Answers that an earlier run of this audit left in the journal."""
    start: int = 0
    """Index of the query that is asked first."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Answers to some questions are in the journal."""

    questions: tuple[str, ...]
    labels: tuple[int, ...]
    num_questions: int
    num_answered: int
    num_attempts: int = 1
    """Requests that these answers took."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the answers so far would come to; on request only, and now and then."""

    score: ScoreOutcome
    """The deciding score, with its thresholds for the questions that were answered."""
    evidence: QueryEvidence | None
    """Query by query, where that score has queries."""
    boundaries: Boundaries | None
    """What it is followed between, where the audit may stop early."""
    race: LineUpRace | None = None
    """Question by question, where that score is a line-up."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Somebody ended the audit; it can be resumed."""

    num_questions: int
    num_answered: int


@dataclass(frozen=True, kw_only=True)
class OrderFound:
    """The order of the suspect's classes is known; what follows is in the bundle's order."""

    order: ClassOrder


@dataclass(frozen=True, kw_only=True)
class ControlsChecked:
    """All control images are answered."""

    check: ControlCheck


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The audit has an outcome."""

    outcome: Outcome
    is_complete: bool
    """False if a budget ended it before it could decide; it can be resumed with a larger one."""
    num_attempts: int
    """Requests that the answers took, failed ones included."""
    spending: Spending | None = None
    """What an endpoint charges for them, all runs together."""


AuditEvent = Started | Answered | OrderFound | ControlsChecked | Standing | Stopped | Finished
