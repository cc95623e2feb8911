"""What goes into the table of a sweep and comes out of it, row by row."""

from dataclasses import dataclass
from enum import StrEnum


class PairStatus(StrEnum):
    """What became of a pair."""

    ASKED = "asked"
    """There is an outcome."""
    MISMATCHED = "mismatched"
    """Bundle and suspect are about different tasks; nothing was asked."""
    BY_OUTPUT = "by output"
    """The file's outputs disagree; each of them is a suspect of its own."""
    STOPPED = "stopped"
    """A limit or the endpoint ended it; the next run goes on."""
    FAILED = "failed"
    """The suspect's file cannot be asked, or does not answer usably; it never will."""
    BROKEN_OFF = "broken off"
    """The worker died, an endpoint was away, or something unexpected happened; the next run asks
    again."""


@dataclass(frozen=True, kw_only=True)
class BundleRow:
    """A bundle of a sweep."""

    bundle: str
    """SHA-256 of the manifest."""
    path: str
    model_name: str
    owner: str
    task: str
    """In words."""
    alpha: float
    """False-positive rate."""
    asked_as: str
    """Tells two ways of asking apart."""


@dataclass(frozen=True, kw_only=True)
class NameRow:
    """A name of a listing."""

    path: str
    kind: str
    stamp: str
    """Changes when the file changes."""
    problem: str
    """Why it cannot be asked, or empty."""


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A name, and what is known of the suspect that it stands for."""

    number: int
    """Of the row, in the order of the listing."""
    name: NameRow
    suspect: str | None
    """Its key, where it is known from an earlier run and the file is the same."""
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class MissingPair:
    """A bundle that a suspect is to be asked with."""

    bundle: str
    status: PairStatus | None
    """What an earlier run came to, None if there was none."""
    audit: str | None
    """That an earlier run began."""


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """What became of one suspect and one bundle."""

    suspect: str
    """Its key."""
    bundle: str
    status: PairStatus
    verdict: str | None
    score_name: str | None
    score: float | None
    p_value: float | None
    smallest_p_value: float | None
    control_accuracy: float | None
    num_questions: int | None
    cost: str | None
    """Exact decimal."""
    currency: str | None
    seconds: float
    exit_code: int
    reason: str
    audit: str | None
    record: str | None
    """Path of the record, relative to the sweep's folder."""
    worker: str
    """Who asked."""
