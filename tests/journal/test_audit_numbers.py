"""Audits of one suspect by one bundle are numbered as they begin, whatever becomes of them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.suspect import SuspectIdentity
from audit.journal.audits import audit_entry, delete_audit
from audit.journal.journal import AskedBundle, Journal
from audit.journal.transfer import put_audits, take_audit

BUNDLE = AskedBundle(sha256="a" * 64, signer_key_id="b" * 64, manifest=b"{}")


def begin(journal: Journal, suspect: str = "s") -> str:
    identity = SuspectIdentity(kind="onnx", name="file", digest=suspect)
    return journal.begin(BUNDLE, identity, {})


def numbers(journal: Journal, audit: str) -> tuple[int, int]:
    entry = audit_entry(journal, audit)
    assert entry is not None
    return entry.number, entry.num_audits


def test_every_audit_gets_the_next_number_of_its_pair() -> None:
    journal = Journal(None)
    first, other, second = begin(journal), begin(journal, "other"), begin(journal)
    assert [numbers(journal, one) for one in (first, second, other)] == [(1, 2), (2, 2), (1, 1)]


def test_forgetting_an_audit_lowers_no_number() -> None:
    journal = Journal(None)
    delete_audit(journal, begin(journal))
    delete_audit(journal, begin(journal))
    assert numbers(journal, begin(journal)) == (3, 3)


def test_an_audit_that_a_worker_made_is_numbered_where_it_arrives() -> None:
    journal, worker = Journal(None), Journal(None)
    begin(journal)
    copies = [take_audit(worker, begin(worker)), take_audit(worker, begin(worker))]
    put_audits(journal, copies)
    assert [numbers(journal, copy.audit) for copy in copies] == [(2, 3), (3, 3)]


def test_audits_of_an_older_journal_are_numbered_by_their_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    audits = [begin(journal) for _ in range(3)]
    journal.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE audits DROP COLUMN number")
        database.execute("ALTER TABLE runs DROP COLUMN ended_by")
        database.execute("DROP TABLE begun")
        database.execute("PRAGMA user_version = 4")
        database.commit()
    journal = Journal(path)
    assert [numbers(journal, one) for one in audits] == [(1, 3), (2, 3), (3, 3)]
    assert numbers(journal, begin(journal)) == (4, 4)
    journal.close()
