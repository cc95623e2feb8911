"""Recent audits: what the journal remembers of them, and records made of it.

Every audit is in the journal from its first answer on, so that nothing has to be saved at its end;
a record is drafted from there at any time, also of an audit that was interrupted.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from audit.asking.ends import End
from audit.bundle.manifest import Manifest
from audit.errors import AuditError, JournalError
from audit.journal.answers import AnswerEntry, answer_entries
from audit.journal.audits import (
    AuditEntry,
    RunEntry,
    audit_entry,
    audit_ids,
    audit_runs,
    audit_summaries,
)
from audit.journal.journal import Journal
from audit.records.audit_count import AuditCount
from audit.records.record import (
    Draft,
    Opening,
    Record,
    RecordedBundle,
    RecordedSuspect,
    Run,
    State,
    encode_log_probabilities,
    parse_record,
    record_bytes,
    utc,
    write_record,
)
from audit.signing.canonical import sha256_hex
from audit.signing.keys import PrivateKey, Trust
from audit.signing.timestamps import encode_token
from audit.verdict.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class StoredAudit:
    """One line of the list of audits."""

    audit: str
    started: float
    """Unix time, seconds."""
    bundle: str
    model_name: str
    suspect: str
    num_answers: int
    state: State
    outcome: Outcome | None
    """None while there is none, and where another version of Kinprint judged."""


def stored_audits(journal: Journal) -> tuple[StoredAudit, ...]:
    """Return all audits of a journal, the newest first.

    Raises:
        JournalError: The journal cannot be read.
    """
    return tuple(
        StoredAudit(
            audit=one.audit,
            started=one.started,
            bundle=one.bundle,
            model_name=json.loads(one.manifest)["model_name"],
            suspect=one.suspect.name,
            num_answers=one.num_answers,
            state=_state(one.finished, one.last_run_ended),
            outcome=_shown_outcome(one.outcome_json, _state(one.finished, one.last_run_ended)),
        )
        for one in audit_summaries(journal)
    )


def find_audit(journal: Journal, prefix: str) -> str:
    """Return the one audit whose id begins so.

    Raises:
        AuditError: There is none, or more than one.
    """
    found = [audit for audit in audit_ids(journal) if audit.startswith(prefix)]
    if len(found) != 1 or not prefix:
        told = "none" if not found else f"{len(found)} of them"
        raise AuditError(
            f"audit: expected one whose id begins with {prefix!r}, got {told}; "
            "kinprint record list shows the ids"
        )
    return found[0]


def draft_record(journal: Journal, audit: str) -> Draft:
    """Collect what the journal knows about an audit.

    Args:
        journal: Where it is.
        audit: Its whole id.

    Raises:
        AuditError: There is no such audit.
        JournalError: The journal cannot be read, or was changed by something else.
    """
    entry = audit_entry(journal, audit)
    if entry is None:
        raise AuditError(f"audit: no {audit} in the journal; kinprint record list shows the ids")
    if sha256_hex(entry.bundle.manifest) != entry.bundle.sha256:
        raise JournalError("journal: a manifest in it is not the one that was asked with")
    runs = audit_runs(journal, audit)
    ended = runs[-1].ended if runs else None
    state = _state(entry.finished, ended)
    return Draft(
        opening=_opening(audit, entry, runs),
        rows=[_row(one) for one in answer_entries(journal, audit)],
        state=state,
        ended_by=_ended_by(runs),
        finished=None if state is State.INTERRUPTED or ended is None else utc(ended),
        outcome=_outcome(entry.outcome_json, state),
    )


def export_record(
    journal: Journal,
    audit: str,
    path: Path,
    key: PrivateKey,
    *,
    stamp: Callable[[bytes], bytes] | None = None,
) -> str:
    """Sign the record of an audit and write it.

    Args:
        journal: Where the audit is.
        audit: Its whole id.
        path: Where the record goes.
        key: The auditor's.
        stamp: Gets an RFC 3161 reply over the answers.

    Returns:
        SHA-256 of the closing line, the record's identity.

    Raises:
        AuditError: No such audit, or the file cannot be written.
    """
    draft = draft_record(journal, audit)
    data = record_bytes(draft, key, written=utc(time.time()), stamp=stamp)
    write_record(path, data)
    return parse_record(data, Trust(keys=(key.public_key,))).digest


def open_existing(path: Path) -> Journal:
    """Open a journal that must be there.

    Raises:
        AuditError: There is none yet.
        JournalError: It cannot be used.
    """
    if not path.exists():
        raise AuditError(f"journal: no audits yet in {path}; kinprint audit makes some")
    return Journal(path)


def _ended_by(runs: Sequence[RunEntry]) -> End | None:
    told = runs[-1].ended_by if runs else None
    try:
        return None if told is None else End(told)
    except ValueError as error:
        raise JournalError("journal: a run ended for a reason that is none") from error


def _opening(audit: str, entry: AuditEntry, runs: Sequence[RunEntry]) -> Opening:
    try:
        return Opening(
            format="kinprint-record",
            format_version=3,
            audit=audit,
            count=AuditCount(number=entry.number, total=entry.num_audits),
            started=utc(entry.started),
            bundle=RecordedBundle(
                sha256=entry.bundle.sha256,
                signer_key_id=entry.bundle.signer_key_id,
                manifest=Manifest.model_validate_json(entry.bundle.manifest),
                timestamp=encode_token(entry.bundle.timestamp),
            ),
            suspect=RecordedSuspect(
                digest=entry.suspect.digest, kind=entry.suspect.kind, name=entry.suspect.name
            ),
            settings=entry.settings,
            runs=tuple(
                Run(
                    number=run.number,
                    started=utc(run.started),
                    budget=run.budget,
                    details=run.details,
                    libraries=run.libraries,
                )
                for run in runs
            ),
        )
    except ValueError as error:
        raise JournalError(f"journal: audit {audit} cannot be read ({error})") from error


def _row(entry: AnswerEntry) -> dict[str, object]:
    return {
        "question": entry.question,
        "image_sha256": entry.image_sha256,
        "run": entry.run,
        "request": entry.request,
        "sequence": entry.sequence,
        "asked": utc(entry.asked),
        "latency_s": entry.latency_s,
        "attempts": entry.attempts,
        "label": entry.answer.label,
        "log_probabilities": encode_log_probabilities(entry.answer.log_probabilities),
        "metadata": entry.metadata,
    }


def _state(finished: float | None, ended: float | None) -> State:
    if finished is not None:
        return State.COMPLETE
    return State.INTERRUPTED if ended is None else State.BUDGET


def _outcome(outcome: str | None, state: State) -> Outcome | None:
    # An older run may have left one that later answers have overtaken.
    if outcome is None or state is State.INTERRUPTED:
        return None
    try:
        return Outcome.model_validate_json(outcome)
    except ValidationError as error:
        raise JournalError(
            "journal: this audit was judged by another version of Kinprint; export its record with "
            "that version, or audit again"
        ) from error


def _shown_outcome(outcome: str | None, state: State) -> Outcome | None:
    """Return what a list can show: nothing of an audit that another version judged."""
    try:
        return _outcome(outcome, state)
    except JournalError:
        return None


def unsigned_preview(draft: Draft) -> Record:
    """Return what a record of the draft will say; its signature and key mean nothing.

    Raises:
        RecordError: The draft is no valid record.
    """
    key = PrivateKey.generate()
    data = record_bytes(draft, key, written=utc(time.time()))
    return parse_record(data, Trust(keys=(key.public_key,)))
