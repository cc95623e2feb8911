"""Audits on their way from one journal to another, as the rows that they are.

A worker of a sweep asks into a journal of its own and hands the finished audit over; whoever keeps
the sweep's journal is the only one who writes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit.journal.audits import delete_audit
from audit.journal.journal import Journal
from audit.journal.numbers import next_number

_TABLES = ("audits", "runs", "answers", "attempts")
_BUNDLE, _SUSPECT = 1, 5
"""Columns of an audit."""
_KEYS = {"audits": "id", "runs": "audit", "answers": "audit", "attempts": "audit"}

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class AuditCopy:
    """All that a journal holds about one audit."""

    audit: str
    """Its id."""
    rows: tuple[tuple[str, tuple[Row, ...]], ...]
    """Rows by table, audits first."""


def take_audit(journal: Journal, audit: str) -> AuditCopy:
    """Take an audit out of a journal.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    statements = {
        table: f"SELECT * FROM {table} WHERE {_KEYS[table]} = ? ORDER BY rowid" for table in _TABLES
    }
    rows = tuple(
        (table, tuple(journal.file.read_rows(statement, (audit,))))
        for table, statement in statements.items()
    )
    delete_audit(journal, audit)
    return AuditCopy(audit=audit, rows=rows)


def put_audits(journal: Journal, copies: Sequence[AuditCopy]) -> None:
    """Put audits into a journal, all at once; they are on the disk afterwards.

    Raises:
        JournalError: One of them is there already, or the disk is full; none of them is kept then.
    """
    if not copies:
        return
    with journal.file.transaction():
        for copy in copies:
            for table, rows in copy.rows:
                if not rows:
                    continue
                # The number of an attempt is the other journal's.
                kept = [(None, *row[1:]) if table == "attempts" else row for row in rows]
                if table == "audits":
                    kept = [_renumbered(journal, row) for row in rows]
                places = ", ".join("?" * len(rows[0]))
                journal.file.write_rows(f"INSERT INTO {table} VALUES ({places})", kept)
    journal.sync()


def _renumbered(journal: Journal, row: Row) -> Row:
    """Return an audit with its number in this journal, which comes last."""
    bundle, suspect = row[_BUNDLE], row[_SUSPECT]
    return (*row[:-1], next_number(journal.file, bundle, suspect))
