"""Recent audits: what the journal remembers of them, and records made of it.

Every audit is in the journal from its first answer on, so that nothing has to be saved at its end;
a record is drafted from there at any time, also of an audit that was interrupted.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from audit.bundle.manifest import Manifest
from audit.errors import AuditError, JournalError
from audit.journal.journal import Journal
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
    rows = journal.read_rows(
        "SELECT id, started, bundle, manifest, suspect_json, outcome_json, finished, "
        "(SELECT COUNT(*) FROM answers WHERE audit = id), "
        "(SELECT ended FROM runs WHERE audit = id ORDER BY run DESC LIMIT 1) "
        "FROM audits ORDER BY started DESC, rowid DESC"
    )
    return tuple(
        StoredAudit(
            audit=audit,
            started=started,
            bundle=bundle,
            model_name=json.loads(manifest)["model_name"],
            suspect=json.loads(suspect)["name"],
            num_answers=num_answers,
            state=_state(finished, ended),
            outcome=_shown_outcome(outcome, _state(finished, ended)),
        )
        for audit, started, bundle, manifest, suspect, outcome, finished, num_answers, ended in rows
    )


def find_audit(journal: Journal, prefix: str) -> str:
    """Return the one audit whose id begins so.

    Raises:
        AuditError: There is none, or more than one.
    """
    found = [
        str(audit)
        for (audit,) in journal.read_rows("SELECT id FROM audits ORDER BY started")
        if audit.startswith(prefix)
    ]
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
    columns = (
        "started, bundle, bundle_signer, manifest, bundle_timestamp, suspect, suspect_json, "
        "settings_json, finished, outcome_json"
    )
    found = journal.read_rows(f"SELECT {columns} FROM audits WHERE id = ?", (audit,))
    if not found:
        raise AuditError(f"audit: no {audit} in the journal; kinprint record list shows the ids")
    (
        started,
        bundle,
        signer,
        manifest,
        token,
        digest,
        description,
        settings,
        finished,
        outcome,
    ) = found[0]
    if sha256_hex(manifest) != bundle:
        raise JournalError("journal: a manifest in it is not the one that was asked with")
    runs = journal.read_rows(
        "SELECT run, started, budget, details_json, libraries_json, ended FROM runs "
        "WHERE audit = ? ORDER BY run",
        (audit,),
    )
    ended = runs[-1][-1] if runs else None
    state = _state(finished, ended)
    try:
        opening = Opening(
            format="kinprint-record",
            format_version=1,
            audit=audit,
            started=utc(started),
            bundle=RecordedBundle(
                sha256=bundle,
                signer_key_id=signer,
                manifest=Manifest.model_validate_json(manifest),
                timestamp=encode_token(token),
            ),
            suspect=RecordedSuspect(digest=digest, **json.loads(description)),
            settings=json.loads(settings),
            runs=tuple(
                Run(
                    number=number,
                    started=utc(begun),
                    budget=budget,
                    details=json.loads(details),
                    libraries=json.loads(libraries),
                )
                for number, begun, budget, details, libraries, _ in runs
            ),
        )
    except (ValidationError, ValueError) as error:
        raise JournalError(f"journal: audit {audit} cannot be read ({error})") from error
    return Draft(
        opening=opening,
        rows=_rows(journal, audit),
        state=state,
        finished=None if state is State.INTERRUPTED or ended is None else utc(ended),
        outcome=_outcome(outcome, state),
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


def delete_audit(journal: Journal, audit: str) -> None:
    """Forget an audit and its answers; one that runs in another process ends with an error.

    Raises:
        JournalError: The journal cannot be written.
    """
    journal.write_rows("DELETE FROM audits WHERE id = ?", [(audit,)])


def open_existing(path: Path) -> Journal:
    """Open a journal that must be there.

    Raises:
        AuditError: There is none yet.
        JournalError: It cannot be used.
    """
    if not path.exists():
        raise AuditError(f"journal: no audits yet in {path}; kinprint audit makes some")
    return Journal(path)


def _rows(journal: Journal, audit: str) -> list[dict[str, object]]:
    rows = journal.read_rows(
        "SELECT question, image_sha256, run, request, sequence, asked, latency_s, attempts, label, "
        "log_probabilities, metadata_json FROM answers WHERE audit = ? ORDER BY sequence",
        (audit,),
    )
    return [
        {
            "question": question,
            "image_sha256": image_sha256,
            "run": run,
            "request": request,
            "sequence": sequence,
            "asked": utc(asked),
            "latency_s": latency_s,
            "attempts": attempts,
            "label": label,
            "log_probabilities": encode_log_probabilities(
                None if blob is None else np.frombuffer(blob, np.float64)
            ),
            "metadata": json.loads(metadata),
        }
        for (
            question,
            image_sha256,
            run,
            request,
            sequence,
            asked,
            latency_s,
            attempts,
            label,
            blob,
            metadata,
        ) in rows
    ]


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
