"""The table of a sweep: one SQLite file, which anybody may read while it grows.

``results`` is what people ask: one row per name and bundle. Behind it, ``files`` holds the names,
``bundles`` the bundles and ``pairs`` what was asked, once per suspect, bundle and way of asking,
however many names the suspect has. Nothing is ever deleted from ``pairs``: a suspect that was
replaced keeps its rows, only no name leads to them. docs/sweeps.md describes the columns.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.journal.sweep_rows import (
    BundleRow,
    FileRow,
    MissingPair,
    NameRow,
    PairRow,
    PairStatus,
)
from audit.journal.sweep_tables import FORMAT_VERSION, TABLES

PAGE = 500
"""Names that are read at once."""

_AGAIN = (PairStatus.STOPPED.value, PairStatus.BROKEN_OFF.value)
"""Rows that the next run asks again."""


class SweepTable:
    """The file ``sweep.sqlite`` of a sweep's folder.

    Args:
        path: Where it is; made if it does not exist.
        is_read_only: Only look; a sweep may be writing it.

    Raises:
        AuditError: It cannot be used, or is another version's.
    """

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self._path, self._turn = path, threading.RLock()
        uri = f"{path.absolute().as_uri()}?mode={'ro' if is_read_only else 'rwc'}"
        with self._told():
            self._db = sqlite3.connect(
                uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._open(is_read_only)
            except BaseException:
                self._db.close()
                raise

    def _open(self, is_read_only: bool) -> None:
        self._db.row_factory = sqlite3.Row
        if not is_read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0 and not is_read_only:
            with self._together():
                for statement in TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO sweep VALUES ('pass', '0')")
                self._db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif version != FORMAT_VERSION:
            raise AuditError(
                f"results: expected version {FORMAT_VERSION} of a sweep's table, got {version} in "
                f"{self._path}; name another folder"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with self._turn:  # threads share the connection
                yield
        except sqlite3.Error as error:
            raise AuditError(f"results: cannot use {self._path} ({error})") from error

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Write what is written inside the block at its end, or nothing of it."""
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, bundles: Sequence[BundleRow], settings: Mapping[str, object]) -> int:
        """Begin a run: say which bundles count now, and how they are asked.

        Args:
            bundles: These and no others.
            settings: What was chosen, for whoever reads the table.

        Returns:
            The number of the listing that follows.
        """
        with self._together():
            self._db.execute("UPDATE bundles SET is_present = 0")
            for one in bundles:
                self._db.execute(
                    "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                    (
                        one.bundle,
                        one.path,
                        one.model_name,
                        one.owner,
                        one.task,
                        one.alpha,
                        one.asked_as,
                    ),
                )
            for name, value in settings.items():
                self._set(name, json.dumps(value, default=str))
        return self.listing + 1

    def bundles(self) -> tuple[BundleRow, ...]:
        """Return the bundles that count, by the names of their models."""
        rows = self.rows(
            "SELECT bundle, path, model_name, owner, task, alpha, asked_as FROM bundles "
            "WHERE is_present ORDER BY model_name, bundle"
        )
        return tuple(BundleRow(**dict(row)) for row in rows)

    @property
    def listing(self) -> int:
        """Number of the last listing that came to its end."""
        rows = self.rows("SELECT value FROM sweep WHERE name = ?", ("pass",))
        return int(rows[0]["value"]) if rows else 0

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO sweep VALUES (?, ?)", (name, value))

    def note(self, names: Sequence[NameRow], listing: int) -> None:
        """Keep names; what was known of a file that has changed is forgotten."""
        with self._together():
            self._db.executemany(
                "INSERT INTO files (path, kind, stamp, beside_json, problem, seen) "
                "VALUES (?, ?, ?, '[]', ?, ?) ON CONFLICT (path) DO UPDATE SET "
                "suspect = CASE WHEN stamp = excluded.stamp AND kind = excluded.kind "
                "THEN suspect END, digest = CASE WHEN stamp = excluded.stamp THEN digest END, "
                "kind = excluded.kind, stamp = excluded.stamp, problem = excluded.problem, "
                "seen = excluded.seen",
                [(one.path, one.kind, one.stamp, one.problem, listing) for one in names],
            )

    def end_listing(self, listing: int) -> None:
        """Let exactly the names of this listing count, and the outputs of these files."""
        found = self.rows("SELECT path, stamp FROM files WHERE kind = 'output'")
        with self._together():
            for path, stamp in found:
                self._db.execute(
                    "UPDATE files SET seen = ? WHERE path = ? AND EXISTS (SELECT 1 FROM files AS "
                    "whole WHERE whole.path = ? AND whole.stamp = ? AND whole.seen = ?)",
                    (listing, path, path.rpartition("#")[0], stamp, listing),
                )
            self._set("pass", str(listing))

    @property
    def num_names(self) -> int:
        """Number of names of the last listing."""
        ((num,),) = self.rows("SELECT COUNT(*) FROM files WHERE seen = ?", (self.listing,))
        return int(num)

    @property
    def num_suspects(self) -> int:
        """Number of different suspects that they are known to stand for."""
        ((num,),) = self.rows(
            "SELECT COUNT(DISTINCT suspect) FROM files WHERE seen = ?", (self.listing,)
        )
        return int(num)

    def files(self) -> Iterator[FileRow]:
        """Yield the names of the last listing in its order; the table may be written meanwhile."""
        last, listing = 0, self.listing
        while rows := self.rows(
            "SELECT id, path, kind, stamp, problem, suspect, digest FROM files "
            "WHERE seen = ? AND id > ? ORDER BY id LIMIT ?",
            (listing, last, PAGE),
        ):
            for number, path, kind, stamp, problem, suspect, sha256 in rows:
                last = number
                yield FileRow(
                    number=number,
                    name=NameRow(path=path, kind=kind, stamp=stamp, problem=problem),
                    suspect=suspect,
                    sha256=sha256,
                )

    def names_of(self, suspect: str) -> tuple[NameRow, ...]:
        """Return the names of the last listing that stand for a suspect."""
        rows = self.rows(
            "SELECT path, kind, stamp, problem FROM files WHERE suspect = ? AND seen = ?",
            (suspect, self.listing),
        )
        return tuple(NameRow(**dict(row)) for row in rows)

    def beside(self, file: int) -> tuple[str, ...]:
        """Return the files that a suspect also consists of."""
        (row,) = self.rows("SELECT beside_json FROM files WHERE id = ?", (file,))
        return tuple(json.loads(row["beside_json"]))

    def know(self, file: int, *, suspect: str, sha256: str | None, beside: Sequence[str]) -> None:
        """Note which suspect a name stands for.

        Args:
            file: Number of the name's row.
            suspect: Its key.
            sha256: Of the ONNX file; None for an endpoint.
            beside: Files that it also consists of, with their stamps.
        """
        with self._told():
            self._db.execute(
                "UPDATE files SET suspect = ?, digest = ?, beside_json = ? WHERE id = ?",
                (suspect, sha256, json.dumps(beside), file),
            )

    def refuse(self, file: int, problem: str) -> None:
        """Note why a name cannot be asked."""
        with self._told():
            self._db.execute("UPDATE files SET problem = ? WHERE id = ?", (problem, file))

    def missing(
        self, suspect: str, *, retry_failed: bool = False, asked_before: float = 0.0
    ) -> tuple[MissingPair, ...]:
        """Return the bundles that a suspect is to be asked with, and audits begun before.

        Args:
            suspect: Its key.
            retry_failed: Ask also what failed for a reason that lies in the suspect.
            asked_before: Ask also what was asked before this Unix time.
        """
        again = (*_AGAIN, PairStatus.FAILED.value) if retry_failed else _AGAIN
        places = ", ".join("?" * len(again))
        rows = self.rows(
            "SELECT bundles.bundle, pairs.audit, pairs.status FROM bundles LEFT JOIN pairs ON "
            "pairs.suspect = ? AND pairs.bundle = bundles.bundle "
            "AND pairs.asked_as = bundles.asked_as WHERE bundles.is_present AND "
            f"(pairs.status IS NULL OR pairs.status IN ({places}) OR pairs.ended < ?) "
            "ORDER BY bundles.bundle",
            (suspect, *again, asked_before),
        )
        return tuple(
            MissingPair(
                bundle=bundle, audit=audit, status=None if status is None else PairStatus(status)
            )
            for bundle, audit, status in rows
        )

    def write(self, pairs: Sequence[PairRow]) -> None:
        """Write what a task came to, all of it or nothing."""
        with self._together():
            for pair in pairs:
                self._db.execute(
                    "INSERT OR REPLACE INTO pairs SELECT ?, bundle, asked_as, ?, ?, ?, ?, ?, ?, "
                    "NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM bundles WHERE bundle = ?",
                    (
                        pair.suspect,
                        pair.status.value,
                        pair.verdict,
                        pair.score_name,
                        pair.score,
                        pair.p_value,
                        pair.smallest_p_value,
                        pair.control_accuracy,
                        pair.num_questions,
                        pair.cost,
                        pair.currency,
                        pair.seconds,
                        pair.exit_code,
                        pair.reason,
                        pair.audit,
                        pair.record,
                        pair.worker,
                        time.time(),
                        pair.bundle,
                    ),
                )

    def note_audit(self, suspect: str, bundle: str, audit: str, worker: str) -> None:
        """Note that an audit of an endpoint began, before its first question."""
        with self._told():
            self._db.execute(
                "INSERT OR REPLACE INTO pairs (suspect, bundle, asked_as, status, seconds, "
                "exit_code, reason, audit, worker, ended) SELECT ?, bundle, asked_as, ?, 0, 12, "
                "'being asked', ?, ?, ? FROM bundles WHERE bundle = ?",
                (suspect, PairStatus.STOPPED.value, audit, worker, time.time(), bundle),
            )

    def adjust(self, adjusted: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Give every pair its p-value for having asked them all.

        A suspect counts once with each bundle, whatever its number of names.

        Args:
            adjusted: From the p-values of P pairs, ``[P]``, to the adjusted ones, ``[P]``.
        """
        rows = self.rows(
            "SELECT pairs.rowid AS id, p_value FROM pairs JOIN bundles ON "
            "pairs.bundle = bundles.bundle AND pairs.asked_as = bundles.asked_as "
            "WHERE is_present AND p_value IS NOT NULL AND EXISTS (SELECT 1 FROM files WHERE "
            "files.suspect = pairs.suspect AND seen = ? AND problem = '')",
            (self.listing,),
        )
        values = adjusted(np.array([row["p_value"] for row in rows], dtype=np.float64))
        with self._together():
            self._db.executemany(
                "UPDATE pairs SET adjusted_p_value = ? WHERE rowid = ?",
                [(float(value), row["id"]) for row, value in zip(rows, values, strict=True)],
            )

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query, for the modules of `audit.journal` alone.

        Raises:
            AuditError: The table cannot be read.
        """
        with self._told():
            return self._db.execute(statement, tuple(values)).fetchall()
