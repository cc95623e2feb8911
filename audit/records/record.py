"""Evidence records: what was asked, what came back, what follows (docs/record-format.md).

One text file: an opening line, one line per answer in the order of asking, a closing line, and a
DSSE envelope with the auditor's signature over the closing line's digest; each line names the
digest of the line before (`audit.signing.hash_chain`). Reading goes from the signature backwards
and never reads a line before it is known to be the signed one.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from adapters.strict_model import FrozenModel
from audit.answer import Answer
from audit.asking.ends import End
from audit.atomic_file import write_atomically
from audit.bundle.manifest import Manifest, Sha256
from audit.errors import AuditError, RecordError
from audit.records.audit_count import AuditCount
from audit.signing.canonical import NotCanonicalError, canonical_bytes, sha256_hex
from audit.signing.envelope import RECORD_PREDICATE_TYPE, sign_statement, verify_envelope
from audit.signing.hash_chain import follow_back, link
from audit.signing.keys import PrivateKey, Trust
from audit.signing.times import RecordTime, unix_time
from audit.verdict.outcome import Outcome

FORMAT = "kinprint-record"
FORMAT_VERSION = 3
"""The only version that is read and written."""
SUBJECT = "record"
"""Name of the signed thing in the envelope."""
MAX_RECORD_BYTES = 512 * 2**20
"""Largest file that is read."""

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Text = dict[str, str]
_Line = TypeVar("_Line", bound=FrozenModel)


class State(StrEnum):
    """How an audit ended."""

    COMPLETE = "complete"
    """Every planned question was answered, or the control images ended it."""
    BUDGET = "stopped by its budget"
    """The budget ended it before it could decide."""
    INTERRUPTED = "interrupted"
    """It was not brought to an end; there is no outcome."""


class Run(FrozenModel):
    """One start of the audit; a resumed audit has several."""

    number: Annotated[int, Field(ge=1)]
    started: RecordTime
    budget: int | None
    """Largest number of questions."""
    details: Text
    """What the suspect said about itself: device really used, opset, wire format, ..."""
    libraries: Text
    """Versions by name."""


class RecordedBundle(FrozenModel):
    """What was asked with."""

    sha256: Sha256
    signer_key_id: Sha256
    manifest: Manifest
    timestamp: Base64 | None
    """RFC 3161 reply over the manifest's bytes, got before the first question."""


class RecordedSuspect(FrozenModel):
    """Who was asked; never holds a secret."""

    kind: str
    name: str
    digest: str
    """SHA-256 of the ONNX file, or of the endpoint's description without secrets."""


class Opening(FrozenModel):
    """The first line."""

    format: Literal["kinprint-record"]
    format_version: Literal[3]
    audit: str
    count: AuditCount
    started: RecordTime
    bundle: RecordedBundle
    suspect: RecordedSuspect
    settings: Text
    """``scores``, comma-separated, the deciding one first; ``capability`` that was used."""
    runs: Annotated[tuple[Run, ...], Field(strict=False, min_length=1)]

    @property
    def scores(self) -> tuple[str, ...]:
        """Return the scores that were asked for, the deciding one first."""
        return tuple(self.settings.get("scores", "").split(","))


class Row(FrozenModel):
    """One answer."""

    previous: Sha256
    question: str
    """``kind/index`` as in `audit.asking.plan`."""
    image_sha256: Sha256
    """Of the pixels that were asked, uint8 ``[H, W, C]`` in C order."""
    run: Annotated[int, Field(ge=1)]
    request: Annotated[int, Field(ge=1)]
    """Number of the batch within the run; answers of one request share it."""
    sequence: Annotated[int, Field(ge=1)]
    """Number in the order of asking; a gap is a question whose answer never came."""
    asked: RecordTime
    latency_s: Annotated[float, Field(ge=0, le=1e9)]
    attempts: Annotated[int, Field(ge=1)]
    """Times that the request was sent."""
    label: Annotated[int, Field(ge=-1)]
    """Class, or -1 where the suspect gave none."""
    log_probabilities: Base64 | None
    """Natural logarithms, float64 little endian ``[K]``."""
    metadata: Text
    """What the suspect said about itself with this answer."""

    @property
    def answer(self) -> Answer:
        """Return the answer as the scores take it."""
        if self.log_probabilities is None:
            return Answer(label=self.label, log_probabilities=None)
        try:
            values = np.frombuffer(base64.b64decode(self.log_probabilities, validate=True), "<f8")
        except (binascii.Error, ValueError) as error:
            raise RecordError(
                f"record: {self.question}: log_probabilities: expected base64 of float64 values"
            ) from error
        return Answer(label=self.label, log_probabilities=values.astype(np.float64))


class Closing(FrozenModel):
    """The last line before the signature."""

    previous: Sha256
    state: Annotated[State, Field(strict=False)]
    ended_by: Annotated[End | None, Field(strict=False)]
    """Why nothing more was asked; None where the audit broke off without a word."""
    num_answers: Annotated[int, Field(ge=0)]
    finished: RecordTime | None
    outcome: Outcome | None
    written: RecordTime
    timestamp: Base64 | None
    """RFC 3161 reply over the last line before this one."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record whose signature and chain were checked."""

    opening: Opening
    rows: tuple[Row, ...]
    closing: Closing
    digest: str
    """SHA-256 of the closing line: the record's identity."""
    signer_key_id: str

    @property
    def answers(self) -> dict[str, Answer]:
        """Return the answers by question."""
        return {row.question: row.answer for row in self.rows}


@dataclass(frozen=True, kw_only=True)
class SignedLines:
    """The lines of a record whose last one is known to be signed."""

    lines: tuple[bytes, ...]
    digest: str
    signer_key_id: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A record that nobody has signed yet."""

    opening: Opening
    rows: Sequence[Mapping[str, object]]
    """Fields of `Row` but ``previous``."""
    state: State
    ended_by: End | None
    finished: str | None
    outcome: Outcome | None


def utc(seconds: float) -> str:
    """Return a Unix time as a record writes it.

    Example:
        >>> utc(0.25)
        '1970-01-01T00:00:00.250000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: str) -> float:
    """Return the Unix time of a record's time.

    Raises:
        RecordError: There is no such day or time, or it names no zone: then it would be another
            moment on each reader's machine.
    """
    try:
        return unix_time(text)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"record: expected a time with its zone, got {text}") from error


def encode_log_probabilities(values: NDArray[np.float64] | None) -> str | None:
    """Return ``[K]`` log-probabilities as a row holds them."""
    return None if values is None else base64.b64encode(values.astype("<f8").tobytes()).decode()


def record_bytes(
    draft: Draft, key: PrivateKey, *, written: str, stamp: Callable[[bytes], bytes] | None = None
) -> bytes:
    """Sign a record.

    Args:
        draft: What it says.
        key: The auditor's.
        written: Time of signing.
        stamp: Gets an RFC 3161 reply over bytes; the last line's are given.

    Returns:
        The file.

    Raises:
        RecordError: The draft does not fit the format.
    """
    try:
        lines = link([draft.opening.model_dump(mode="json"), *map(dict, draft.rows)])
        token = None if stamp is None else base64.b64encode(stamp(lines[-1])).decode()
        closing = Closing(
            previous=sha256_hex(lines[-1]),
            state=draft.state,
            ended_by=draft.ended_by,
            num_answers=len(draft.rows),
            finished=draft.finished,
            outcome=draft.outcome,
            written=written,
            timestamp=token,
        )
        lines.append(canonical_bytes(closing.model_dump(mode="json")))
    except NotCanonicalError as error:
        raise RecordError(f"record: {error}") from error
    digest = sha256_hex(lines[-1])
    lines.append(sign_statement(SUBJECT, digest, RECORD_PREDICATE_TYPE, {}, key))
    data = b"".join(line + b"\n" for line in lines)
    parse_record(data, Trust(keys=(key.public_key,)))  # what is signed can be read again
    return data


def write_record(path: Path, data: bytes) -> None:
    """Put a signed record on disk, whole or not at all.

    Raises:
        AuditError: The folder is missing or the disk is full; a file there before stays as it was.
    """
    try:
        write_atomically(path, [data])
    except OSError as error:
        raise AuditError(f"record: cannot write {path}: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Read a record's file.

    Raises:
        AuditError: It cannot be opened.
        RecordError: It is larger than any record.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise AuditError(f"record: cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_RECORD_BYTES:
        raise RecordError(f"record: expected at most {MAX_RECORD_BYTES} bytes, got more")
    return data


def read_record(path: Path, trust: Trust) -> Record:
    """Read a record that somebody trusted has signed.

    Raises:
        RecordError: No record, cut short, or of another version.
        SignatureInvalidError: Signature or a link of the chain is wrong.
        UntrustedKeyError: Signed by a key that is not trusted.
        AuditError: The file cannot be opened.
    """
    return parse_record(read_bytes(path), trust)


def parse_record(data: bytes, trust: Trust) -> Record:
    """Read a record from its bytes. Errors as in `read_record`."""
    return parse_lines(check_signature(data, trust))


def check_signature(data: bytes, trust: Trust) -> SignedLines:
    """Check who signed the last line; nothing before it is read. Errors as in `read_record`."""
    if not data.startswith(b'{"audit":'):
        raise RecordError("record: expected a Kinprint record, got a file of another kind")
    *lines, rest = data.split(b"\n")
    if rest or len(lines) < 3:  # opening, closing and envelope
        raise RecordError("record: cut short, or something follows its signature; get it again")
    envelope = lines.pop()
    digest = sha256_hex(lines[-1])
    statement = verify_envelope(
        envelope,
        trust,
        subject_name=SUBJECT,
        subject_sha256=digest,
        predicate_type=RECORD_PREDICATE_TYPE,
    )
    return SignedLines(lines=tuple(lines), digest=digest, signer_key_id=statement.key.key_id)


def parse_lines(signed: SignedLines) -> Record:
    """Follow the chain back from the signed line and parse. Errors as in `read_record`."""
    objects = follow_back(signed.lines, signed.digest)
    version = objects[0].get("format_version")
    if objects[0].get("format") != FORMAT or version != FORMAT_VERSION:
        raise RecordError(
            f"record: format_version: expected {FORMAT_VERSION}, the only one that this Kinprint "
            f"knows, got {version!r}; use {_older_or_newer(version)} Kinprint"
        )
    record = Record(
        opening=_parse(Opening, "line 1", signed.lines[0]),
        rows=tuple(_parse(Row, f"line {number}", line) for number, line in _rows(signed.lines)),
        closing=_parse(Closing, f"line {len(signed.lines)}", signed.lines[-1]),
        digest=signed.digest,
        signer_key_id=signed.signer_key_id,
    )
    if record.closing.num_answers != len(record.rows):
        raise RecordError(
            f"record: num_answers: expected {len(record.rows)}, got {record.closing.num_answers}"
        )
    return record


def _older_or_newer(version: object) -> str:
    is_old = isinstance(version, int) and version < FORMAT_VERSION
    return "the older" if is_old else "a newer"


def _rows(lines: Sequence[bytes]) -> Iterable[tuple[int, bytes]]:
    return enumerate(lines[1:-1], start=2)


def _parse(kind: type[_Line], where: str, data: bytes) -> _Line:
    try:
        line = kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"record: {where}: {field}: {first['msg']}") from error
    if canonical_bytes(line.model_dump(mode="json")) != data:
        raise RecordError(f"record: {where}: expected every field to be written out")
    return line
