"""The tables of a journal, and how a journal of an older version gets those it lacks."""

import sqlite3
from pathlib import Path

from audit.errors import JournalError

SCHEMA_VERSION = 5

_TABLES = """
CREATE TABLE audits (
    id TEXT PRIMARY KEY,
    bundle TEXT NOT NULL,
    bundle_signer TEXT NOT NULL,
    manifest BLOB NOT NULL,
    bundle_timestamp BLOB,
    suspect TEXT NOT NULL,
    suspect_json TEXT NOT NULL,
    settings_json TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    outcome_json TEXT
) STRICT;
CREATE TABLE runs (
    audit TEXT NOT NULL REFERENCES audits (id) ON DELETE CASCADE,
    run INTEGER NOT NULL,
    started REAL NOT NULL,
    budget INTEGER,
    details_json TEXT NOT NULL,
    libraries_json TEXT NOT NULL,
    ended REAL,
    PRIMARY KEY (audit, run)
) STRICT;
CREATE TABLE answers (
    audit TEXT NOT NULL REFERENCES audits (id) ON DELETE CASCADE,
    question TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    run INTEGER NOT NULL,
    request INTEGER NOT NULL,
    image_sha256 TEXT NOT NULL,
    label INTEGER NOT NULL,
    log_probabilities BLOB,
    attempts INTEGER NOT NULL,
    asked REAL NOT NULL,
    latency_s REAL NOT NULL,
    metadata_json TEXT NOT NULL,
    PRIMARY KEY (audit, question)
) STRICT;
"""
_ATTEMPTS = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    audit TEXT NOT NULL REFERENCES audits (id) ON DELETE CASCADE,
    run INTEGER NOT NULL,
    request INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started REAL NOT NULL,
    num_images INTEGER NOT NULL,
    request_sha256 TEXT NOT NULL,
    result TEXT,
    status INTEGER,
    latency_s REAL,
    answer_sha256 TEXT,
    metadata_json TEXT,
    is_charged INTEGER NOT NULL,
    UNIQUE (audit, run, request, attempt)
) STRICT;
"""
# What an outcome says has changed: every answer is kept, and --resume judges it without asking.
_JUDGED_AGAIN = "UPDATE audits SET finished = NULL, outcome_json = NULL;"
# `begun` counts audits that were begun, whatever became of them: forgetting one lowers no number.
_NUMBERS = """
CREATE TABLE begun (
    bundle TEXT NOT NULL,
    suspect TEXT NOT NULL,
    num_audits INTEGER NOT NULL,
    PRIMARY KEY (bundle, suspect)
) STRICT;
ALTER TABLE audits ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE audits SET number = (
    SELECT COUNT(*) FROM audits AS other
    WHERE other.bundle = audits.bundle AND other.suspect = audits.suspect
    AND (other.started, other.rowid) <= (audits.started, audits.rowid)
);
INSERT INTO begun SELECT bundle, suspect, COUNT(*) FROM audits GROUP BY bundle, suspect;
ALTER TABLE runs ADD COLUMN ended_by TEXT;
"""
_MIGRATIONS = {2: _ATTEMPTS, 3: _JUDGED_AGAIN, 4: _NUMBERS + _JUDGED_AGAIN}
"""Statements that lead from a version to the next one."""


def prepare_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make or complete the tables; call within a transaction.

    Raises:
        JournalError: The file is of a version that cannot be carried over.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        _run_all(connection, _TABLES + _ATTEMPTS + _NUMBERS)
        version = SCHEMA_VERSION
    while version in _MIGRATIONS:
        _run_all(connection, _MIGRATIONS[version])
        version += 1
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"journal: {path} has version {version}, this Kinprint reads {SCHEMA_VERSION}; name "
            "another file with --journal"
        )
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run_all(connection: sqlite3.Connection, statements: str) -> None:
    # One by one: executescript() would commit what the transaction around this has done so far.
    for statement in statements.split(";\n"):
        connection.execute(statement)
