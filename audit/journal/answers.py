"""The answers of an audit with all that the journal knows about how they were asked for."""

from dataclasses import dataclass

import numpy as np

from audit.answer import Answer
from audit.journal.journal import Journal
from audit.journal.json_text import decoded


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswerEntry:
    """A question and its answer; two of them are two values, since arrays have no single truth."""

    question: str
    image_sha256: str
    """SHA-256 of the image's pixels."""
    run: int
    request: int
    """Number of its batch within the run, from 1."""
    sequence: int
    """Its number in the audit's order of asking, from 1."""
    asked: float
    """Unix time, seconds."""
    latency_s: float
    attempts: int
    """Requests that its batch took."""
    answer: Answer
    metadata: dict[str, str]
    """What came with its batch's answers."""


def answer_entries(journal: Journal, audit: str) -> tuple[AnswerEntry, ...]:
    """Return the answers of an audit in the order of asking.

    Raises:
        JournalError: The journal cannot be read, or was changed by something else.
    """
    rows = journal.file.read_rows(
        "SELECT question, image_sha256, run, request, sequence, asked, latency_s, attempts, label, "
        "log_probabilities, metadata_json FROM answers WHERE audit = ? ORDER BY sequence",
        (audit,),
    )
    return tuple(
        AnswerEntry(
            question=question,
            image_sha256=image_sha256,
            run=run,
            request=request,
            sequence=sequence,
            asked=asked,
            latency_s=latency_s,
            attempts=attempts,
            answer=Answer(
                label=label,
                log_probabilities=None if blob is None else np.frombuffer(blob, np.float64),
            ),
            metadata=decoded(metadata, audit),
        )
        for (
            question,
            image_sha256,
            run,
            request,
            sequence,
            asked,
            latency_s,
            attempts,
            label,
            blob,
            metadata,
        ) in rows
    )
