"""A journal of the version before is carried over; one of another version is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
    finish_audit,
)

from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.errors import JournalError
from audit.journal.journal import Journal
from audit.journal.tables import SCHEMA_VERSION
from audit.records.from_journal import export_record, stored_audits
from audit.records.verify import Result, verify_record


def version_2(path: Path) -> Path:
    """Write a journal as the version before did, with an audit that its budget stopped."""
    bundle = audited_contents()
    journal = Journal(path)
    finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle, budget=10)
    journal.close()
    with closing(sqlite3.connect(path)) as database:
        for table, column in (("audits", "number"), ("runs", "ended_by")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("attempts", "begun"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 2")
        database.commit()
    return path


def test_an_audit_of_the_version_before_is_resumed_and_its_record_holds(tmp_path: Path) -> None:
    path, bundle = version_2(tmp_path / "journal.sqlite"), audited_contents()
    journal, suspect = Journal(path), FakeSuspect(audited_contents(), copy_rule)
    list(AuditSession(bundle, suspect, journal, AuditOptions(resume=True)).run())
    assert sum(suspect.asked) == 32 - 10
    (stored,) = stored_audits(journal)
    export_record(journal, stored.audit, tmp_path / "out.kinrecord", AUDITOR_KEY)
    journal.close()
    verification = verify_record(tmp_path / "out.kinrecord", GOLDEN_BUNDLE, TRUST)
    assert verification.result is Result.HOLDS


def test_carrying_over_twice_changes_nothing(tmp_path: Path) -> None:
    path = version_2(tmp_path / "journal.sqlite")
    Journal(path).close()
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert version == SCHEMA_VERSION == 5
    assert {"audits", "runs", "answers", "attempts"} <= tables
    Journal(path).close()


@pytest.mark.parametrize("version", [1, 6])
def test_another_version_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = version_2(tmp_path / "journal.sqlite")
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(JournalError, match=f"has version {version}, this Kinprint reads 5"):
        Journal(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
