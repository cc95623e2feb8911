"""Rows of many threads in one transaction: a transaction costs more than a row.

Answers come back in bursts, and with each a request leaves. Whoever gets the lock first writes for
all that wait for it; nobody returns before its own row is written.
"""

import sqlite3
import threading
from collections import deque
from dataclasses import dataclass


@dataclass
class _Statement:
    """One that waits to be run, and what came of it."""

    statement: str
    values: tuple[object, ...]
    row: int = 0
    error: sqlite3.Error | None = None
    is_done: bool = False


class SharedWrites:
    """Statements of many threads to one connection.

    Args:
        connection: In autocommit mode.
        lock: Whoever uses the connection holds it.
    """

    def __init__(self, connection: sqlite3.Connection, lock: threading.RLock) -> None:
        self._connection, self._lock = connection, lock
        self._waiting: deque[_Statement] = deque()

    def write(self, statement: str, values: tuple[object, ...]) -> int:
        """Run a statement and return the id of the row that it wrote.

        Raises:
            sqlite3.Error: It was not written.
        """
        wanted = _Statement(statement, values)
        self._waiting.append(wanted)
        with self._lock:
            if not wanted.is_done:
                self._write_waiting()
        if wanted.error is not None:
            raise wanted.error
        return wanted.row

    def _write_waiting(self) -> None:
        """Run all waiting statements in one transaction; one that fails is undone alone."""
        together: list[_Statement] = []
        if len(self._waiting) == 1:  # a statement is a transaction
            self._execute(self._waiting.popleft())
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            while self._waiting:
                together.append(self._waiting.popleft())
                self._execute(together[-1])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            while self._waiting:
                together.append(self._waiting.popleft())
            for one in together:
                one.error, one.is_done = one.error or error, True

    def _execute(self, wanted: _Statement) -> None:
        try:
            cursor = self._connection.execute(wanted.statement, wanted.values)
            wanted.row = int(cursor.lastrowid or 0)
        except sqlite3.Error as error:
            wanted.error = error
        wanted.is_done = True
