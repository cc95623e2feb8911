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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.sweep_tables import FORMAT_VERSION, TABLES
from audit.suspects.found_files import SuspectKind
from audit.sweep.identity import Identified
from audit.sweep.listing import Entry
from audit.sweep.tasks import PairResult, PairStatus, SuspectTask
from audit.verdict.p_values import benjamini_hochberg

PAGE = 500
"""Names that are read at once."""

_AGAIN = (PairStatus.STOPPED.value, PairStatus.BROKEN_OFF.value)
"""Rows that the next run asks again."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A name whose suspect is to be asked with some bundles."""

    file: int
    """Number of the row, in the order of the listing."""
    entry: Entry
    suspect: str | None
    """Its key, where it is known from an earlier run and the file is the same."""
    sha256: str | None


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
            with self.together():
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
    def together(self) -> Iterator[None]:
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

    def begin(
        self, bundles: Sequence[tuple[Path, BundleContents, str]], settings: Mapping[str, object]
    ) -> int:
        """Begin a run: say which bundles count now, and how they are asked.

        Args:
            bundles: Path, contents and way of asking of each.
            settings: What was chosen, for whoever reads the table.

        Returns:
            The number of the listing that follows.
        """
        with self.together():
            self._db.execute("UPDATE bundles SET is_present = 0")
            for path, contents, asked_as in bundles:
                manifest = contents.manifest
                self._db.execute(
                    "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                    (
                        contents.manifest_sha256,
                        str(path),
                        manifest.model_name,
                        manifest.owner,
                        task_in_words(contents),
                        manifest.alpha,
                        asked_as,
                    ),
                )
            for name, value in settings.items():
                self._set(name, json.dumps(value, default=str))
        return self.listing + 1

    @property
    def listing(self) -> int:
        """Number of the last listing that came to its end."""
        return int(self._get("pass") or 0)

    def setting(self, name: str) -> Any:
        """Return a setting of the last run, None if there is none."""
        value = self._get(name)
        return None if value is None else json.loads(value)

    def _get(self, name: str) -> str | None:
        rows = self.rows("SELECT value FROM sweep WHERE name = ?", (name,))
        return None if not rows else str(rows[0]["value"])

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO sweep VALUES (?, ?)", (name, value))

    def note(self, entries: Sequence[Entry], listing: int) -> None:
        """Keep names; what was known of a file that has changed is forgotten."""
        with self.together():
            self._db.executemany(
                "INSERT INTO files (path, kind, stamp, beside_json, problem, seen) "
                "VALUES (?, ?, ?, '[]', ?, ?) ON CONFLICT (path) DO UPDATE SET "
                "suspect = CASE WHEN stamp = excluded.stamp AND kind = excluded.kind "
                "THEN suspect END, digest = CASE WHEN stamp = excluded.stamp THEN digest END, "
                "kind = excluded.kind, stamp = excluded.stamp, problem = excluded.problem, "
                "seen = excluded.seen",
                [
                    (str(one.path), one.kind.value, one.stamp, one.problem, listing)
                    for one in entries
                ],
            )

    def end_listing(self, listing: int) -> None:
        """Let exactly the names of this listing count."""
        with self.together():
            self._set("pass", str(listing))

    def candidates(self) -> Iterator[Candidate]:
        """Yield the names of the last listing in its order."""
        last, listing = 0, self.listing
        while rows := self.rows(
            "SELECT * FROM files WHERE seen = ? AND id > ? ORDER BY id LIMIT ?",
            (listing, last, PAGE),
        ):
            for row in rows:
                last = row["id"]
                yield Candidate(
                    file=row["id"],
                    entry=Entry(
                        path=Path(row["path"]),
                        kind=SuspectKind(row["kind"]),
                        stamp=row["stamp"],
                        problem=row["problem"],
                    ),
                    suspect=row["suspect"],
                    sha256=row["digest"],
                )

    def beside(self, file: int) -> tuple[str, ...]:
        """Return the files that a suspect also consists of."""
        (row,) = self.rows("SELECT beside_json FROM files WHERE id = ?", (file,))
        return tuple(json.loads(row["beside_json"]))

    def know(self, file: int, identified: Identified) -> None:
        """Note which suspect a name stands for."""
        with self._told():
            self._db.execute(
                "UPDATE files SET suspect = ?, digest = ?, beside_json = ? WHERE id = ?",
                (identified.key, identified.sha256, json.dumps(identified.beside), file),
            )

    def refuse(self, file: int, problem: str) -> None:
        """Note why a name cannot be asked."""
        with self._told():
            self._db.execute("UPDATE files SET problem = ? WHERE id = ?", (problem, file))

    def missing(
        self, suspect: str, *, retry_failed: bool = False, asked_before: float = 0.0
    ) -> list[sqlite3.Row]:
        """Return the bundles that a suspect is to be asked with, and audits begun before.

        Args:
            suspect: Its key.
            retry_failed: Ask also what failed for a reason that lies in the suspect.
            asked_before: Ask also what was asked before this Unix time.
        """
        again = (*_AGAIN, PairStatus.FAILED.value) if retry_failed else _AGAIN
        places = ", ".join("?" * len(again))
        return self.rows(
            "SELECT bundles.bundle, pairs.audit, pairs.status FROM bundles LEFT JOIN pairs ON "
            "pairs.suspect = ? AND pairs.bundle = bundles.bundle "
            "AND pairs.asked_as = bundles.asked_as WHERE bundles.is_present AND "
            f"(pairs.status IS NULL OR pairs.status IN ({places}) OR pairs.ended < ?) "
            "ORDER BY bundles.bundle",
            (suspect, *again, asked_before),
        )

    def write(
        self,
        task: SuspectTask,
        results: Sequence[PairResult],
        *,
        worker: str,
        records: Mapping[str, str],
    ) -> None:
        """Write what a task came to.

        Args:
            task: The task.
            results: Its pairs.
            worker: Who asked.
            records: Path of the record by audit, relative to the sweep's folder.
        """
        with self.together():
            for pair in results:
                score = None
                if pair.outcome is not None and pair.outcome.scores:
                    score = pair.outcome.scores[0]
                self._db.execute(
                    "INSERT OR REPLACE INTO pairs SELECT ?, bundle, asked_as, ?, ?, ?, ?, ?, ?, "
                    "NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM bundles WHERE bundle = ?",
                    (
                        task.suspect,
                        pair.status.value,
                        pair.outcome.verdict.value if pair.outcome else None,
                        score.name if score else None,
                        score.value if score else None,
                        score.p_value if score else None,
                        score.smallest_p_value if score else None,
                        pair.outcome.control.accuracy if pair.outcome else None,
                        pair.outcome.num_questions if pair.outcome else None,
                        pair.cost,
                        pair.currency,
                        round(pair.seconds, 4),
                        pair.exit_code,
                        pair.reason,
                        pair.audit,
                        records.get(pair.audit or ""),
                        worker,
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

    def adjust(self) -> None:
        """Give every pair its p-value for having asked them all (Benjamini-Hochberg).

        A suspect counts once with each bundle, whatever its number of names.
        """
        rows = self.rows(
            "SELECT pairs.rowid AS id, p_value FROM pairs JOIN bundles ON "
            "pairs.bundle = bundles.bundle AND pairs.asked_as = bundles.asked_as "
            "WHERE is_present AND p_value IS NOT NULL AND EXISTS (SELECT 1 FROM files WHERE "
            "files.suspect = pairs.suspect AND seen = ? AND problem = '')",
            (self.listing,),
        )
        adjusted = benjamini_hochberg(np.array([row["p_value"] for row in rows], dtype=np.float64))
        with self.together():
            self._db.executemany(
                "UPDATE pairs SET adjusted_p_value = ? WHERE rowid = ?",
                [(float(value), row["id"]) for row, value in zip(rows, adjusted, strict=True)],
            )

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            AuditError: The table cannot be read.
        """
        with self._told():
            return self._db.execute(statement, tuple(values)).fetchall()


def task_in_words(bundle: BundleContents) -> str:
    """Return what a bundle's images and classes are.

    Example: ``32x32x3, 10 classes``.
    """
    task = bundle.manifest.task
    return f"{task.height}x{task.width}x{task.channels}, {task.num_classes} classes"
