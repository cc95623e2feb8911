"""Completeness of a record: what had to be asked, and what had not."""

from collections.abc import Callable
from pathlib import Path

from worlds.audit_world import KnownSuspect, known_bundle
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    draft_id,
    forged,
)

from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.journal.journal import Journal
from audit.records.check import Status
from audit.records.completeness import check_completeness
from audit.records.from_journal import export_record
from audit.records.record import parse_record
from audit.records.verify import Result, Verification, verify_record

Lines = list[dict[str, object]]
LATER = STARTED + 3600


def checked(tmp_path: Path, data: bytes, bundle: Path = GOLDEN_BUNDLE) -> Verification:
    path = tmp_path / "checked.kinrecord"
    path.write_bytes(data)
    return verify_record(path, bundle, TRUST, now=LATER)


def completeness(verification: Verification) -> tuple[Status, str]:
    (found,) = [check for check in verification.checks if check.name == "completeness"]
    return found.status, found.text


def audited(
    tmp_path: Path, suspect: KnownSuspect, options: AuditOptions, **changes: object
) -> tuple[bytes, Path]:
    """Audit the known bundle and return the record and the bundle's path."""
    known, path = known_bundle(**changes), tmp_path / "known.kinprint"
    write_bundle(path, known.manifest, known.arrays, OWNER_KEY)
    journal = Journal(tmp_path / "journal.sqlite")
    list(AuditSession(read_bundle(path, TRUST), suspect, journal, options).run())
    export_record(journal, draft_id(journal), tmp_path / "out.kinrecord", AUDITOR_KEY)
    journal.close()
    return (tmp_path / "out.kinrecord").read_bytes(), path


def without(kind: str) -> Callable[[Lines], None]:
    """Leave out the answers to one kind of question."""

    def change(lines: Lines) -> None:
        lines[:] = [one for one in lines if not str(one.get("question")).startswith(f"{kind}/")]
        lines[-1]["num_answers"] = len(lines) - 2

    return change


def test_a_record_of_a_comparable_suspect_that_was_asked_no_query_is_refused(
    tmp_path: Path,
) -> None:
    data = forged(GOLDEN_RECORD.read_bytes(), without("query"), AUDITOR_KEY)
    verification = checked(tmp_path, data)
    assert verification.result is Result.REFUSED
    assert completeness(verification) == (
        Status.FAILED,
        "query/0: expected an answer, got none; 24 answers are missing",
    )


def test_a_budget_that_reaches_no_query_leaves_out_the_score_of_queries(tmp_path: Path) -> None:
    # 10 control images and 25 of the 30 triggers
    suspect = KnownSuspect(lambda kind, index: 0, probability=0.8)
    options = AuditOptions(scores=("mfue-w", "likelihood-ratio"), budget=35)
    data, bundle = audited(tmp_path, suspect, options)
    record = parse_record(data, TRUST)
    assert record.closing.outcome is not None
    assert [score.name for score in record.closing.outcome.scores] == ["mfue-w"]
    assert check_completeness(record, read_bundle(bundle, TRUST)).status is Status.HELD
