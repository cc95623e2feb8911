"""Commitments: an owner's signed word, given early, that a bundle exists.

A bundle that was made after the suspect was known proves less. An owner who publishes a commitment
when a model is released, with a timestamp of a third party, shows that the triggers were not fitted
to anybody. The file is one DSSE envelope over the digest of the bundle's manifest.
"""

from dataclasses import dataclass
from pathlib import Path

from audit.atomic_file import write_atomically
from audit.errors import AuditError, RecordError, SignatureInvalidError
from audit.signing.envelope import COMMITMENT_PREDICATE_TYPE, sign_statement, verify_envelope
from audit.signing.keys import PrivateKey, Trust

SUBJECT = "manifest.json"
MAX_COMMITMENT_BYTES = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """A commitment whose signature was checked."""

    bundle_sha256: str
    committed: str
    """Time that the signer claims, UTC."""
    timestamp: str | None
    """RFC 3161 reply over the manifest, base64."""
    signer_key_id: str


def commitment_bytes(
    bundle_sha256: str, key: PrivateKey, *, committed: str, timestamp: str | None
) -> bytes:
    """Sign a commitment.

    Args:
        bundle_sha256: The bundle's identity.
        key: The owner's.
        committed: Time of signing, UTC, as in a record.
        timestamp: RFC 3161 reply over the manifest, base64.

    Returns:
        The file.
    """
    predicate = {"committed": committed, "timestamp": timestamp}
    envelope = sign_statement(SUBJECT, bundle_sha256, COMMITMENT_PREDICATE_TYPE, predicate, key)
    return envelope + b"\n"


def write_commitment(path: Path, data: bytes) -> None:
    """Put a commitment on disk.

    Raises:
        AuditError: It cannot be written.
    """
    try:
        write_atomically(path, [data])
    except OSError as error:
        raise AuditError(f"commitment: cannot write {path}: {error.strerror}") from error


def read_commitment(path: Path, bundle_sha256: str, trust: Trust) -> Commitment:
    """Read a commitment to a bundle.

    Args:
        path: The file.
        bundle_sha256: Identity of the bundle that it must be about.
        trust: Keys that count.

    Raises:
        SignatureInvalidError: Signature wrong, or it is about another bundle.
        UntrustedKeyError: Signed by a key that is not trusted.
        RecordError: Signed, but it does not say when.
        AuditError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_COMMITMENT_BYTES + 1)
    except OSError as error:
        raise AuditError(f"commitment: cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_COMMITMENT_BYTES or not data.endswith(b"\n"):
        raise SignatureInvalidError("commitment: expected a Kinprint commitment, got another file")
    statement = verify_envelope(
        data[:-1],
        trust,
        subject_name=SUBJECT,
        subject_sha256=bundle_sha256,
        predicate_type=COMMITMENT_PREDICATE_TYPE,
    )
    committed, timestamp = (statement.predicate.get(name) for name in ("committed", "timestamp"))
    if not isinstance(committed, str) or not (timestamp is None or isinstance(timestamp, str)):
        raise RecordError("commitment: expected the fields committed and timestamp")
    return Commitment(
        bundle_sha256=bundle_sha256,
        committed=committed,
        timestamp=timestamp,
        signer_key_id=statement.key.key_id,
    )
