"""Commitments: an owner's signed word, given early, that a bundle exists.

A bundle that was made after the suspect was known proves less. An owner who publishes a commitment
when a model is released, with a timestamp of a third party, shows that the triggers were not fitted
to anybody. The file is one DSSE envelope over the digest of the bundle's manifest.

Several bundles can share a commitment: packs of queries for one model, of which each can be used in
public without the others. The envelope then is over the root of a Merkle tree of their digests, and
a pack's file has a second line, the path from its digest to the root; it tells nothing of the other
packs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from adapters.strict_model import FrozenModel
from audit.atomic_file import write_atomically
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError, RecordError, SignatureInvalidError
from audit.signing.canonical import NotCanonicalError, canonical_bytes, parse_canonical
from audit.signing.envelope import COMMITMENT_PREDICATE_TYPE, sign_statement, verify_envelope
from audit.signing.keys import PrivateKey, Trust
from audit.signing.merkle import inclusion_path, root_by_path, root_bytes, root_of
from audit.signing.times import is_ahead, unix_time

SUBJECT = "manifest.json"
PACKS_SUBJECT = "packs"
MAX_PACKS = 1000
MAX_COMMITMENT_BYTES = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """A commitment whose signature was checked."""

    subject_sha256: str
    """What was signed and timestamped: the bundle's identity, or the root over all packs."""
    committed: str
    """Time that the signer claims, UTC."""
    timestamp: str | None
    """RFC 3161 reply over what has that digest, base64."""
    signer_key_id: str
    pack: int = 1
    """The bundle's place among the packs, from 1 on."""
    num_packs: int = 1
    """Bundles that share the commitment."""


class _PackProof(FrozenModel):
    """The second line: where a pack stands in the tree."""

    num_packs: Annotated[int, Field(ge=2, le=MAX_PACKS)]
    pack: Annotated[int, Field(ge=1, le=MAX_PACKS)]
    path: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...], Field(strict=False)
    ]

    def root(self, bundle_sha256: str) -> str:
        """Return the root that the path leads to from a bundle.

        Raises:
            SignatureInvalidError: No tree of that many packs has such a path.
        """
        root = root_by_path(
            bytes.fromhex(bundle_sha256),
            self.pack - 1,
            self.num_packs,
            [bytes.fromhex(one) for one in self.path],
        )
        if root is None:
            raise SignatureInvalidError(
                f"commitment: expected a path for pack {self.pack} of {self.num_packs}, got one of "
                f"{len(self.path)} steps"
            )
        return root.hex()


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


def packs_root_bytes(bundle_digests: Sequence[str]) -> bytes:
    """Return what the root over several packs is the SHA-256 of; a timestamp is made over it."""
    return root_bytes([bytes.fromhex(one) for one in bundle_digests])


def pack_commitments(
    bundle_digests: Sequence[str], key: PrivateKey, *, committed: str, timestamp: str | None
) -> list[bytes]:
    """Sign one commitment to several packs.

    Args:
        bundle_digests: The packs' identities, at least two; their order is kept.
        key: The owner's.
        committed: Time of signing, UTC, as in a record.
        timestamp: RFC 3161 reply over `packs_root_bytes`, base64.

    Returns:
        A file for each pack: the same signed line, and the pack's own proof.

    Raises:
        AuditError: A pack is given twice, or there are too many.
    """
    num_packs = len(bundle_digests)
    if len(set(bundle_digests)) < num_packs:
        raise AuditError("packs: expected different bundles, got one of them twice")
    if num_packs > MAX_PACKS:
        raise AuditError(f"packs: expected at most {MAX_PACKS}, got {num_packs}")
    entries = [bytes.fromhex(one) for one in bundle_digests]
    predicate = {"committed": committed, "num_packs": num_packs, "timestamp": timestamp}
    envelope = sign_statement(
        PACKS_SUBJECT, root_of(entries).hex(), COMMITMENT_PREDICATE_TYPE, predicate, key
    )
    proofs = [
        _PackProof(
            num_packs=num_packs,
            pack=index + 1,
            path=tuple(one.hex() for one in inclusion_path(entries, index)),
        )
        for index in range(num_packs)
    ]
    return [
        envelope + b"\n" + canonical_bytes(proof.model_dump(mode="json")) + b"\n"
        for proof in proofs
    ]


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
        SignatureInvalidError: Signature or proof wrong, or it is about another bundle.
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
    lines = data[:-1].split(b"\n")
    proof = None if len(lines) == 1 else _proof(lines[1:])
    subject = bundle_sha256 if proof is None else proof.root(bundle_sha256)
    statement = verify_envelope(
        lines[0],
        trust,
        subject_name=SUBJECT if proof is None else PACKS_SUBJECT,
        subject_sha256=subject,
        predicate_type=COMMITMENT_PREDICATE_TYPE,
    )
    committed, timestamp = (statement.predicate.get(name) for name in ("committed", "timestamp"))
    if not isinstance(committed, str) or not (timestamp is None or isinstance(timestamp, str)):
        raise RecordError("commitment: expected the fields committed and timestamp")
    if proof is not None and statement.predicate.get("num_packs") != proof.num_packs:
        raise RecordError(
            f"commitment: expected a proof of as many packs as were signed, got {proof.num_packs}"
        )
    try:
        is_early = is_ahead(unix_time(committed))
    except (ValueError, OverflowError) as error:
        raise RecordError(f"commitment: expected a time with its zone, got {committed}") from error
    if is_early:
        raise RecordError(
            f"commitment: committed: expected a time that has been, got {committed}; this "
            "machine's clock or its owner's is wrong"
        )
    return Commitment(
        subject_sha256=subject,
        committed=committed,
        timestamp=timestamp,
        signer_key_id=statement.key.key_id,
        pack=1 if proof is None else proof.pack,
        num_packs=1 if proof is None else proof.num_packs,
    )


def owners_commitment(path: Path, bundle: BundleContents, trust: Trust) -> Commitment:
    """Read a commitment that must be of the key that signed the bundle.

    Args:
        path: The file.
        bundle: What it must be about.
        trust: Keys that count.

    Raises:
        SignatureInvalidError: Signed by another key, and else as `read_commitment`, like the rest.
    """
    commitment = read_commitment(path, bundle.manifest_sha256, trust)
    if commitment.signer_key_id != bundle.signer_key_id:
        raise SignatureInvalidError(
            f"commitment: expected the owner's key {bundle.signer_key_id}, got "
            f"{commitment.signer_key_id}"
        )
    return commitment


UNDATED = (
    "That images and models of a bundle were chosen before the suspect was known is the owner's "
    "word, unless 'kinprint verify --commitment' dates it: images that are picked afterwards can "
    "make any model look derived."
)
"""Said of an accusation where no commitment is looked at."""


def dated_words(commitment: Commitment | None) -> str:
    """Return what a bundle's date rests on, for whoever reads that something is derived."""
    if commitment is None:
        return (
            "No commitment was given (--commitment): that images and models of this bundle were "
            "chosen before the suspect was known is the owner's word, and images that are picked "
            "afterwards can make any model look derived."
        )
    said = f"The owner's signed commitment to this bundle says {commitment.committed}"
    if commitment.timestamp is None:
        return f"{said}: the owner's word, too; ask where and when it was published."
    return f"{said} and holds a timestamp, which 'kinprint verify --tsa-cert' checks."


def _proof(lines: Sequence[bytes]) -> _PackProof:
    try:
        if len(lines) > 1:
            raise NotCanonicalError("more than two lines")
        return _PackProof.model_validate(parse_canonical(lines[0]))
    except (NotCanonicalError, ValidationError) as error:
        raise SignatureInvalidError(
            "commitment: expected a signed line, and for a pack one line with its proof; got "
            "something else"
        ) from error
