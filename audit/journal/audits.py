"""The audits of a journal: which there are, what each is about, and how it ran."""

from dataclasses import dataclass

from adapters.suspect import SuspectIdentity
from audit.errors import JournalError
from audit.journal.journal import AskedBundle, Journal
from audit.journal.json_text import decoded
from audit.journal.numbers import num_begun


@dataclass(frozen=True, kw_only=True)
class AuditSummary:
    """An audit in short."""

    audit: str
    started: float
    """Unix time, seconds."""
    bundle: str
    """SHA-256 of the manifest."""
    manifest: bytes
    suspect: SuspectIdentity
    """Without details, which may change from run to run."""
    num_answers: int
    finished: float | None
    """When it came to its end; None where it can go on."""
    last_run_ended: float | None
    """None also while there is no run."""
    outcome_json: str | None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """All that the journal knows of an audit besides its runs and answers."""

    bundle: AskedBundle
    suspect: SuspectIdentity
    """Without details, which may change from run to run."""
    settings: dict[str, str]
    started: float
    finished: float | None
    """When it came to its end; None where it can go on."""
    outcome_json: str | None
    number: int
    """Which one it is of this suspect by this bundle, from 1."""
    num_audits: int
    """How many of them were begun in this journal by now."""


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """One start of an audit."""

    number: int
    """From 1."""
    started: float
    budget: int | None
    """Largest number of questions."""
    details: dict[str, str]
    """What the suspect said about itself."""
    libraries: dict[str, str]
    """Versions of what asks and judges."""
    ended: float | None
    ended_by: str | None
    """Why nothing more was asked (`audit.asking.ends.End`); None where the run was killed."""


@dataclass(frozen=True, kw_only=True)
class KnownAudit:
    """An audit of some pair."""

    audit: str
    settings: dict[str, str]
    is_finished: bool
    """Whether it came to its end; every other one can go on."""


def audit_ids(journal: Journal) -> tuple[str, ...]:
    """Return the ids of all audits, the oldest first.

    Raises:
        JournalError: The journal cannot be read.
    """
    rows = journal.file.read_rows("SELECT id FROM audits ORDER BY started, rowid")
    return tuple(str(audit) for (audit,) in rows)


def audit_summaries(journal: Journal) -> tuple[AuditSummary, ...]:
    """Return all audits in short, the newest first.

    Raises:
        JournalError: The journal cannot be read, or was changed by something else.
    """
    rows = journal.file.read_rows(
        "SELECT id, started, bundle, manifest, suspect, suspect_json, outcome_json, finished, "
        "(SELECT COUNT(*) FROM answers WHERE audit = id), "
        "(SELECT ended FROM runs WHERE audit = id ORDER BY run DESC LIMIT 1) "
        "FROM audits ORDER BY started DESC, rowid DESC"
    )
    return tuple(
        AuditSummary(
            audit=audit,
            started=started,
            bundle=bundle,
            manifest=manifest,
            suspect=_suspect(audit, digest, description),
            num_answers=num_answers,
            finished=finished,
            last_run_ended=ended,
            outcome_json=outcome,
        )
        for (
            audit,
            started,
            bundle,
            manifest,
            digest,
            description,
            outcome,
            finished,
            num_answers,
            ended,
        ) in rows
    )


def audit_entry(journal: Journal, audit: str) -> AuditEntry | None:
    """Return what is known of an audit, None if there is none of this id.

    Raises:
        JournalError: The journal cannot be read, or was changed by something else.
    """
    rows = journal.file.read_rows(
        "SELECT bundle, bundle_signer, manifest, bundle_timestamp, suspect, suspect_json, "
        "settings_json, started, finished, outcome_json, number FROM audits WHERE id = ?",
        (audit,),
    )
    if not rows:
        return None
    sha256, signer, manifest, timestamp, digest, description, settings, *rest = rows[0]
    started, finished, outcome, number = rest
    return AuditEntry(
        bundle=AskedBundle(
            sha256=sha256, signer_key_id=signer, manifest=manifest, timestamp=timestamp
        ),
        suspect=_suspect(audit, digest, description),
        settings=decoded(settings, audit),
        started=started,
        finished=finished,
        outcome_json=outcome,
        number=number,
        num_audits=num_begun(journal.file, sha256, digest),
    )


def audit_runs(journal: Journal, audit: str) -> tuple[RunEntry, ...]:
    """Return the runs of an audit in their order.

    Raises:
        JournalError: The journal cannot be read, or was changed by something else.
    """
    rows = journal.file.read_rows(
        "SELECT run, started, budget, details_json, libraries_json, ended, ended_by FROM runs "
        "WHERE audit = ? ORDER BY run",
        (audit,),
    )
    return tuple(
        RunEntry(
            number=number,
            started=started,
            budget=budget,
            details=decoded(details, audit),
            libraries=decoded(libraries, audit),
            ended=ended,
            ended_by=ended_by,
        )
        for number, started, budget, details, libraries, ended, ended_by in rows
    )


def audits_of_pair(
    journal: Journal, bundle: str, suspect: SuspectIdentity
) -> tuple[KnownAudit, ...]:
    """Return the audits of a pair, the newest first.

    Args:
        journal: Where to look.
        bundle: SHA-256 of its manifest.
        suspect: Who is asked.

    Raises:
        JournalError: The journal cannot be read, or was changed by something else.
    """
    rows = journal.file.read_rows(
        "SELECT id, settings_json, finished IS NOT NULL FROM audits "
        "WHERE bundle = ? AND suspect = ? ORDER BY started DESC, rowid DESC",
        (bundle, suspect.digest),
    )
    return tuple(
        KnownAudit(audit=audit, settings=decoded(settings, audit), is_finished=bool(is_finished))
        for audit, settings, is_finished in rows
    )


def final_outcome(journal: Journal, audit: str) -> str | None:
    """Return the outcome of an audit that came to its end, as JSON; None of every other one.

    Raises:
        JournalError: The journal cannot be read.
    """
    rows = journal.file.read_rows(
        "SELECT outcome_json FROM audits WHERE id = ? AND finished IS NOT NULL", (audit,)
    )
    outcome: str | None = rows[0][0] if rows else None
    return outcome


def delete_audit(journal: Journal, audit: str) -> None:
    """Forget an audit and its answers; one that runs in another process ends with an error.

    Raises:
        JournalError: The journal cannot be written.
    """
    journal.file.write_rows("DELETE FROM audits WHERE id = ?", [(audit,)])


def _suspect(audit: str, digest: str, description: str) -> SuspectIdentity:
    told = decoded(description, audit)
    try:
        return SuspectIdentity(digest=digest, kind=told["kind"], name=told["name"])
    except KeyError as error:
        raise JournalError(f"journal: audit {audit} cannot be read (no {error})") from error
