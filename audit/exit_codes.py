"""What a command's exit status says (README lists them for users)."""

from enum import IntEnum

from adapters.suspect import (
    SuspectConfigError,
    SuspectError,
    SuspectThrottledError,
    SuspectUnreachableError,
)
from audit.errors import (
    AuditError,
    BudgetSpentError,
    BundleError,
    ClusterError,
    ClusterLostError,
    JournalError,
    MismatchError,
    NoJournalError,
    RecordError,
    SignatureInvalidError,
    UnfinishedAuditError,
    UntrustedKeyError,
)
from audit.verdict.outcome import Verdict


class ExitCode(IntEnum):
    """Exit statuses; the same meaning in every command."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    DERIVED = 10
    INCONCLUSIVE = 11
    STOPPED = 12
    """Budget or rate; can be resumed."""
    SIGNATURE = 13
    UNREACHABLE = 14
    NOT_COMPARABLE = 15
    INTERRUPTED = 130
    """By Ctrl-C, as shells count it."""


_BY_ERROR: tuple[tuple[type[Exception], ExitCode], ...] = (
    (SignatureInvalidError, ExitCode.SIGNATURE),
    (UntrustedKeyError, ExitCode.SIGNATURE),
    (BundleError, ExitCode.SIGNATURE),
    (RecordError, ExitCode.SIGNATURE),
    (MismatchError, ExitCode.NOT_COMPARABLE),
    (NoJournalError, ExitCode.USAGE),
    (JournalError, ExitCode.UNEXPECTED),
    (BudgetSpentError, ExitCode.STOPPED),
    (UnfinishedAuditError, ExitCode.STOPPED),
    (ClusterLostError, ExitCode.STOPPED),
    (ClusterError, ExitCode.UNREACHABLE),
    (AuditError, ExitCode.USAGE),
    (SuspectConfigError, ExitCode.USAGE),
    (SuspectThrottledError, ExitCode.STOPPED),
    (SuspectUnreachableError, ExitCode.UNREACHABLE),
    (SuspectError, ExitCode.UNREACHABLE),
)
"""First match counts, so subclasses stand before their parents."""

_BY_VERDICT = {
    Verdict.DERIVED: ExitCode.DERIVED,
    Verdict.INDEPENDENT: ExitCode.OK,
    Verdict.NO_COPY: ExitCode.OK,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE: ExitCode.NOT_COMPARABLE,
}

_GRAVITY = (
    ExitCode.DERIVED,
    ExitCode.UNEXPECTED,
    ExitCode.SIGNATURE,
    ExitCode.USAGE,
    ExitCode.UNREACHABLE,
    ExitCode.STOPPED,
    ExitCode.NOT_COMPARABLE,
    ExitCode.INCONCLUSIVE,
    ExitCode.OK,
)


def code_for_error(error: Exception) -> ExitCode | None:
    """Return the status for an expected error, None for one that nobody expected."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return None


def code_for_verdict(verdict: Verdict, *, is_complete: bool) -> ExitCode:
    """Return the status of one audit; an audit that its budget cut short can be resumed."""
    return _BY_VERDICT[verdict] if is_complete else ExitCode.STOPPED


def gravest(codes: list[ExitCode], fail_on: str = "inconclusive") -> ExitCode:
    """Return the status of several audits together.

    Args:
        codes: One per suspect.
        fail_on: ``derived`` lets inconclusive audits pass, ``never`` derived ones too; what went
            wrong (no answer, wrong signature) is always told.
    """
    forgiven = {
        "inconclusive": set[ExitCode](),
        "derived": {ExitCode.INCONCLUSIVE},
        "never": {ExitCode.INCONCLUSIVE, ExitCode.DERIVED},
    }[fail_on]
    counted = [code for code in codes if code not in forgiven]
    return min(counted, key=_GRAVITY.index, default=ExitCode.OK)
