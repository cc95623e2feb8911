"""Errors of the audit side.

AuditError                       anything that stops an audit
├── BundleError                  the bundle cannot be read as one (cut short, unknown version, ...)
├── RecordError                  the record cannot be read as one
├── SignatureInvalidError        bytes or digests do not match what was signed
├── UntrustedKeyError            the signature is right, but nobody told us to trust its key
├── MismatchError                bundle and suspect do not fit each other (shape, classes)
├── BudgetSpentError             one request more would exceed what the audit may send or cost
├── NothingToResumeError         the journal has no unfinished audit of this pair
├── UnfinishedAuditError         it has one that was paid; go on with it, or begin anew
├── ClusterError                 the cluster of a sweep cannot be used
│   └── ClusterLostError         it could, and is gone; what was asked is kept
└── JournalError                 the journal cannot be used (locked, another audit's, disk full)
    └── NoJournalError           the file that was named is no journal
"""


class AuditError(Exception):
    """An audit cannot go on; the message names the field and what to do."""


class BundleError(AuditError):
    """The file is not a usable bundle."""


class RecordError(AuditError):
    """The file is not a usable record."""


class SignatureInvalidError(AuditError):
    """The signature or a digest is wrong: the bytes are not those that the owner signed."""


class UntrustedKeyError(AuditError):
    """The signature could be checked, but its key is not among the trusted ones."""


class MismatchError(AuditError):
    """Bundle and suspect are about different tasks."""


class BudgetSpentError(AuditError):
    """One request more would exceed what the audit may send or cost; it can be resumed."""


class NothingToResumeError(AuditError):
    """The journal has no unfinished audit of this pair and these settings.

    Args:
        message: Says so.
        finished: The newest one that came to its end, if there is any.
    """

    def __init__(self, message: str, finished: str | None = None) -> None:
        super().__init__(message)
        self.finished = finished


class UnfinishedAuditError(AuditError):
    """The journal has an unfinished audit of this pair, which was paid; nobody said what to do."""


class ClusterError(AuditError):
    """Nobody answers at the cluster's address, or its workers are other versions than we are."""


class ClusterLostError(ClusterError):
    """The cluster went away in the middle of a sweep, which can go on later."""


class JournalError(AuditError):
    """The journal of answers cannot be opened, read or written."""


class NoJournalError(JournalError):
    """The file that was named is no journal."""
