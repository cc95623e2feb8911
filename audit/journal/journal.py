"""The journal: every answer of a suspect, on disk before it is used.

One SQLite file (write-ahead log, synchronous) holds many audits, each with what a record needs: the
bundle's manifest, the runs, and for every answer when and how it was asked. A question has one row
for good: asking it twice is an error of the caller, and an answer is never overwritten; only the
names of its classes change, once, where the audit finds their order (`audit.journal.class_order`).

What is written in one turn (`Journal.turn`) is with the operating system when the turn ends, and
outlives this process from then on; `Journal.sync` waits until it is on the disk and outlives the
machine, too (`audit.journal.journal_file`). Requests to an endpoint have a row each besides
(`audit.journal.attempt_log`), written before the request leaves.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from adapters.suspect import Predictions, SuspectIdentity
from audit.answer import Answer
from audit.journal.journal_file import JournalFile
from audit.journal.json_text import encoded
from audit.journal.numbers import next_number


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
        self.file = JournalFile(path)
        """Its rows, for the modules of `audit.journal` alone."""
        self.turn = self.file.turn
        """Held by whoever reads or writes; its end commits what was written in it."""

    def commit(self) -> None:
        """Hand over to the operating system what was written in this turn; see `JournalFile`."""
        self.file.commit()

    def sync(self) -> None:
        """Wait until all that was written is on the disk; see `JournalFile`."""
        self.file.sync()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

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
        self.file.write_rows(
            "INSERT INTO audits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
            [
                (
                    audit,
                    bundle.sha256,
                    bundle.signer_key_id,
                    bundle.manifest,
                    bundle.timestamp,
                    suspect.digest,
                    encoded(description),
                    encoded(settings),
                    time.time(),
                    next_number(self.file, bundle.sha256, suspect.digest),
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
        ((last,),) = self.file.read_rows(
            "SELECT COALESCE(MAX(run), 0) FROM runs WHERE audit = ?", (audit,)
        )
        run = int(last) + 1
        self.file.write_rows(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
            [(audit, run, time.time(), budget, encoded(details), encoded(libraries))],
        )
        return run

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
        metadata = encoded(answers.metadata)
        rows = answers.log_probabilities
        blobs = [None] * len(questions) if rows is None else [row.tobytes() for row in rows]
        self.file.write_rows(
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
        rows = self.file.read_rows(
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
        ((last,),) = self.file.read_rows(
            "SELECT COALESCE(MAX(sequence), 0) FROM answers WHERE audit = ?", (audit,)
        )
        return int(last)

    def count_attempts(self, audit: str) -> int:
        """Return the number of requests of an audit, failed ones included."""
        # Answers from before there were rows for attempts say themselves how many they took.
        ((total,),) = self.file.read_rows(
            "SELECT (SELECT COUNT(*) FROM attempts WHERE audit = :audit) + "
            "(SELECT COALESCE(SUM(attempts), 0) FROM (SELECT attempts FROM answers "
            "WHERE audit = :audit AND NOT EXISTS (SELECT 1 FROM attempts "
            "WHERE attempts.audit = answers.audit AND attempts.run = answers.run "
            "AND attempts.request = answers.request) GROUP BY run, request))",
            {"audit": audit},
        )
        return int(total)

    def end_run(
        self, audit: str, run: int, outcome: str, *, is_complete: bool, ended_by: str
    ) -> None:
        """Note that a run came to an outcome.

        Args:
            audit: Id from `begin`.
            run: Number from `begin_run`.
            outcome: As JSON.
            is_complete: False leaves the audit open for a run with a larger budget.
            ended_by: Why nothing more was asked.
        """
        now = time.time()
        self.file.write_rows(
            "UPDATE runs SET ended = ?, ended_by = ? WHERE audit = ? AND run = ?",
            [(now, ended_by, audit, run)],
        )
        self.file.write_rows(
            "UPDATE audits SET finished = ?, outcome_json = ? WHERE id = ?",
            [(now if is_complete else None, outcome, audit)],
        )

    def break_off_run(self, audit: str, run: int, ended_by: str) -> None:
        """Note why a run ended before there was an outcome; one that is killed notes nothing."""
        self.file.write_rows(
            "UPDATE runs SET ended_by = ? WHERE audit = ? AND run = ?", [(ended_by, audit, run)]
        )
