"""The journal: every answer of a suspect, on disk before it is used.

One SQLite file (write-ahead log, synchronous) holds many audits, each with what a record needs: the
bundle's manifest, the runs, and for every answer when and how it was asked. A question has one row
for good: asking it twice is an error of the caller, and an answer is never overwritten; only the
names of its classes change, once, where the audit finds their order
(`audit.asking.class_order_of_audit`).

What is written in one turn (`Journal.turn`) is with the operating system when the turn ends, and
outlives this process from then on; `Journal.sync` waits until it is on the disk and outlives the
machine, too. Requests to an endpoint have a row each besides (`audit.journal.attempt_log`), written
before the request leaves.
"""

import json
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from adapters.suspect import Predictions, SuspectIdentity
from audit.answer import Answer
from audit.errors import JournalError, NoJournalError
from audit.journal.tables import prepare_tables
from audit.journal.turn_lock import Turn

_LOCK_TIMEOUT_S = 30.0
_ENCODER = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class AskedBundle:
    """The bundle of an audit, as far as a record repeats it."""

    sha256: str
    """SHA-256 of the manifest."""
    signer_key_id: str
    manifest: bytes
    """The manifest's canonical JSON."""
    timestamp: bytes | None = None
    """RFC 3161 reply over the manifest, from before the first question."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """When and how a batch of N images was asked."""

    run: int
    """1 for the first run of the audit, one more with each resumption."""
    request: int
    """Number of the batch within the run, from 1."""
    sequence: int
    """Number of the batch's first question in the audit's order of asking, from 1."""
    asked: float
    """Unix time, seconds."""
    latency_s: float
    image_sha256: tuple[str, ...]
    """SHA-256 of each image's pixels, N."""


def default_journal() -> Path:
    """Return where answers go unless somebody says otherwise."""
    return platformdirs.user_data_path("kinprint") / "journal.sqlite"


class Journal:
    """Answers of many audits in one file.

    Args:
        path: The file; made with its folder if it does not exist. None keeps everything in memory,
            for audits that count only once they are copied to a file (`audit.journal.transfer`).

    Raises:
        JournalError: The file is no journal, is of another version or cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._is_in_memory = path is None
        path = path or Path(":memory:")
        self._path = path
        self.turn = Turn(self.commit)
        """Held by whoever reads or writes; its end commits what was written in it."""
        self._is_all_or_nothing = self._is_closed = False
        self._log: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Threads take turns.
            self._connection = sqlite3.connect(
                path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"journal: cannot use {path} ({error})") from error
        try:
            self._switch_to_write_ahead_log()
            # In a write-ahead log this leaves waiting for the disk to `sync`, which needs no lock.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            with self._all_or_nothing():
                prepare_tables(self._connection, path)
        except sqlite3.Error as error:
            self._connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise NoJournalError(
                    f"journal: expected a journal of Kinprint, got {path}, which is another kind "
                    "of file; name another one with --journal"
                ) from error
            raise JournalError(f"journal: cannot use {path} ({error})") from error
        except JournalError:
            self._connection.close()
            raise

    def _switch_to_write_ahead_log(self) -> None:
        # The switch wants the file for itself, and SQLite does not wait for that as it waits for
        # every other lock: a journal that two processes open first at once needs a second try.
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _begin(self) -> None:
        """Begin what ends with the turn, unless that was done."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Hand over to the operating system what was written in this turn so far.

        It outlives this process from then on, and no later failure undoes it; `sync` goes further.

        Raises:
            JournalError: It could not be written.
        """
        if self._is_closed or self._is_all_or_nothing or not self._connection.in_transaction:
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"journal: cannot write {self._path} ({error})") from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # a full disk has rolled back already
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        with self.turn:
            assert not self._is_all_or_nothing, "a transaction within a transaction"
            self.commit()  # what was written before the block is no part of it
            self._is_all_or_nothing = True
            try:
                self._begin()
                yield
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._is_all_or_nothing = False
            self.commit()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write what is written inside the block at its end, or nothing of it where that fails.

        Raises:
            JournalError: It could not be written.
        """
        try:
            with self._all_or_nothing():
                yield
        except sqlite3.Error as error:
            raise JournalError(f"journal: cannot write {self._path} ({error})") from error

    def close(self) -> None:
        """Close the file."""
        with self.turn:
            if self._log is not None:
                self._close_log()
                self._log = None
            self.commit()
            self._is_closed = True
            self._connection.close()

    def begin(
        self, bundle: AskedBundle, suspect: SuspectIdentity, settings: Mapping[str, str]
    ) -> str:
        """Start an audit.

        Args:
            bundle: What is asked.
            suspect: Who is asked.
            settings: What distinguishes this audit from another of the same pair.

        Returns:
            The audit's id.
        """
        audit = secrets.token_hex(8)
        description = {"kind": suspect.kind, "name": suspect.name}
        self.write_rows(
            "INSERT INTO audits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            [
                (
                    audit,
                    bundle.sha256,
                    bundle.signer_key_id,
                    bundle.manifest,
                    bundle.timestamp,
                    suspect.digest,
                    _json(description),
                    _json(settings),
                    time.time(),
                )
            ],
        )
        return audit

    def begin_run(
        self,
        audit: str,
        *,
        budget: int | None,
        details: Mapping[str, str],
        libraries: Mapping[str, str],
    ) -> int:
        """Note that an audit begins, or goes on.

        Args:
            audit: Id from `begin`.
            budget: Largest number of questions.
            details: What the suspect says about itself in this run.
            libraries: Versions of what asks and judges.

        Returns:
            The run's number, from 1.
        """
        ((last,),) = self.read_rows(
            "SELECT COALESCE(MAX(run), 0) FROM runs WHERE audit = ?", (audit,)
        )
        run = int(last) + 1
        self.write_rows(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL)",
            [(audit, run, time.time(), budget, _json(details), _json(libraries))],
        )
        return run

    def unfinished(
        self, bundle: str, suspect: SuspectIdentity, settings: Mapping[str, str]
    ) -> str | None:
        """Return the newest audit of this pair and these settings that has no end yet."""
        row = self.read_rows(
            "SELECT id FROM audits WHERE bundle = ? AND suspect = ? AND settings_json = ? "
            "AND finished IS NULL ORDER BY started DESC, rowid DESC LIMIT 1",
            (bundle, suspect.digest, _json(settings)),
        )
        return None if not row else str(row[0][0])

    def write(
        self, audit: str, questions: Sequence[str], answers: Predictions, asking: Asking
    ) -> None:
        """Put the answers to a batch on disk.

        Args:
            audit: Id from `begin`.
            questions: Ids of the N questions.
            answers: Answers to them, in the same order.
            asking: When and how.

        Raises:
            JournalError: One of the questions has an answer already, or the disk is full.
        """
        metadata = _json(answers.metadata)
        rows = answers.log_probabilities
        blobs = [None] * len(questions) if rows is None else [row.tobytes() for row in rows]
        self.write_rows(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    audit,
                    question,
                    asking.sequence + position,
                    asking.run,
                    asking.request,
                    image_sha256,
                    int(label),
                    blob,
                    answers.attempts,
                    asking.asked,
                    asking.latency_s,
                    metadata,
                )
                for position, (question, label, blob, image_sha256) in enumerate(
                    zip(questions, answers.labels, blobs, asking.image_sha256, strict=True)
                )
            ],
        )

    def answers(self, audit: str) -> dict[str, Answer]:
        """Return all answers of an audit by question id."""
        rows = self.read_rows(
            "SELECT question, label, log_probabilities FROM answers WHERE audit = ?", (audit,)
        )
        return {
            question: Answer(
                label=label,
                log_probabilities=None if blob is None else np.frombuffer(blob, np.float64),
            )
            for question, label, blob in rows
        }

    def last_sequence(self, audit: str) -> int:
        """Return the number of the last question that has an answer, 0 if none has."""
        ((last,),) = self.read_rows(
            "SELECT COALESCE(MAX(sequence), 0) FROM answers WHERE audit = ?", (audit,)
        )
        return int(last)

    def count_attempts(self, audit: str) -> int:
        """Return the number of requests of an audit, failed ones included."""
        # Answers from before there were rows for attempts say themselves how many they took.
        ((total,),) = self.read_rows(
            "SELECT (SELECT COUNT(*) FROM attempts WHERE audit = :audit) + "
            "(SELECT COALESCE(SUM(attempts), 0) FROM (SELECT attempts FROM answers "
            "WHERE audit = :audit AND NOT EXISTS (SELECT 1 FROM attempts "
            "WHERE attempts.audit = answers.audit AND attempts.run = answers.run "
            "AND attempts.request = answers.request) GROUP BY run, request))",
            {"audit": audit},
        )
        return int(total)

    def end_run(self, audit: str, run: int, outcome: str, *, is_complete: bool) -> None:
        """Note that a run came to an outcome.

        Args:
            audit: Id from `begin`.
            run: Number from `begin_run`.
            outcome: As JSON.
            is_complete: False leaves the audit open for a run with a larger budget.
        """
        now = time.time()
        self.write_rows(
            "UPDATE runs SET ended = ? WHERE audit = ? AND run = ?", [(now, audit, run)]
        )
        self.write_rows(
            "UPDATE audits SET finished = ?, outcome_json = ? WHERE id = ?",
            [(now if is_complete else None, outcome, audit)],
        )

    def sync(self) -> None:
        """Wait until all that was written is on the disk; others may write meanwhile.

        Raises:
            JournalError: The disk did not take it.
        """
        with self.turn:
            self.commit()
        if self._is_in_memory:
            return
        try:
            os.fsync(self._log or self._opened_log())
        except OSError as error:
            raise JournalError(f"journal: cannot write {self._path} ({error.strerror})") from error

    def _opened_log(self) -> int:
        with self.turn:
            if self._log is None:
                # SQLite holds no locks on this file, so closing it lets go of none.
                self._log = os.open(f"{self._path}-wal", os.O_RDWR)
                self._close_log = weakref.finalize(self, os.close, self._log)
            return self._log

    def write_soon(self, statement: str, values: tuple[object, ...]) -> int:
        """Run one statement; what it did outlives this process once the turn ends.

        Returns:
            The number of the row that it inserted, if it did.

        Raises:
            JournalError: A rule of the tables forbids it, or the disk is full.
        """
        try:
            with self.turn:
                self._begin()
                return int(self._connection.execute(statement, values).lastrowid or 0)
        except sqlite3.Error as error:
            raise JournalError(f"journal: cannot write {self._path} ({error})") from error

    def write_rows(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement once per row.

        All is on disk afterwards, unless the turn goes on: then after a `sync`. What was written
        before a row that fails is kept in a turn that goes on, and else not.

        Raises:
            JournalError: A rule of the tables forbids it, or the disk is full.
        """
        is_part = self.turn.is_mine
        try:
            with self.turn if is_part else self._all_or_nothing():
                self._begin()
                self._connection.executemany(statement, rows)
            if not is_part:
                self.sync()
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise JournalError(
                    f"journal: this audit was deleted from {self._path} while it ran"
                ) from error
            raise JournalError(
                f"journal: {self._path} already holds an answer to a question of this batch; "
                "is another process working on the same audit?"
            ) from error
        except sqlite3.Error as error:
            raise JournalError(f"journal: cannot write {self._path} ({error})") from error

    def read_rows(
        self, statement: str, values: tuple[object, ...] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            JournalError: The file cannot be read.
        """
        try:
            with self.turn:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"journal: cannot read {self._path} ({error})") from error


def _json(value: Mapping[str, str]) -> str:
    return _ENCODER.encode(dict(value))
