"""The file of a journal: turns, transactions and the way to the disk.

One SQLite file (write-ahead log, synchronous). What is written in one turn (`JournalFile.turn`) is
with the operating system when the turn ends, and outlives this process from then on;
`JournalFile.sync` waits until it is on the disk and outlives the machine, too.
"""

import os
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.errors import JournalError, NoJournalError
from audit.journal.tables import prepare_tables
from audit.journal.turn_lock import Turn

_LOCK_TIMEOUT_S = 30.0


class JournalFile:
    """Rows in one file, for the modules of `audit.journal` that know its tables.

    Args:
        path: The file; made with its folder if it does not exist. None keeps everything in memory.

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
