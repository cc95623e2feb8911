"""Signatures: an in-toto Statement in a DSSE envelope, signed with Ed25519.

The only file that touches securesystemslib. It knows no bundle and no record: it signs the digest
of something and says later whether that holds.

The envelope carries the public key beside the signature, so that a signature by an unknown key can
still be told from a wrong one; that key proves nothing until it is found in a `Trust`.

Formats: DSSE 1.0 (https://github.com/secure-systems-lab/dsse), in-toto Statement v1
(https://github.com/in-toto/attestation), Ed25519 (RFC 8032).
"""

import base64
import binascii
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # public, but not in __all__
    CryptoSigner,
    SSlibKey,
)

from adapters.strict_model import FrozenModel
from audit.errors import AuditError, SignatureInvalidError
from audit.signing.canonical import NotCanonicalError, canonical_bytes, parse_canonical, sha256_hex
from audit.signing.keys import PrivateKey, PublicKey, Trust

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
BUNDLE_PREDICATE_TYPE = "https://kinprint.dev/bundle/v1"
"""Says that the signed digest is that of a bundle's manifest."""
RECORD_PREDICATE_TYPE = "https://kinprint.dev/record/v1"
"""Says that the signed digest is that of a record's closing line."""
AUDIT_PREDICATE_TYPE = "https://kinprint.dev/audit/v1"
"""Says what an audit found about the signed digest, which is that of a suspect."""
COMMITMENT_PREDICATE_TYPE = "https://kinprint.dev/commitment/v1"
"""Says that the signer publishes the digest of a bundle's manifest."""


@dataclass(frozen=True, kw_only=True)
class SignedStatement:
    """What a signature that was checked says."""

    subject_name: str
    subject_sha256: str
    predicate_type: str
    predicate: Mapping[str, object]
    key: PublicKey


class _Signature(FrozenModel):
    keyid: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    public_key: Annotated[str, Field(alias="publicKey")]
    sig: str


class _Envelope(FrozenModel):
    payload: str
    payload_type: Annotated[Literal["application/vnd.in-toto+json"], Field(alias="payloadType")]
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


class _Digest(FrozenModel):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Subject(FrozenModel):
    name: str
    digest: _Digest


class _Statement(FrozenModel):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    predicate_type: Annotated[str, Field(alias="predicateType")]
    predicate: dict[str, object]


def sign_statement(
    subject_name: str,
    subject_sha256: str,
    predicate_type: str,
    predicate: Mapping[str, object],
    key: PrivateKey,
) -> bytes:
    """Sign "the thing of this name and digest is what the predicate type says".

    Args:
        subject_name: Name of the signed thing.
        subject_sha256: Its SHA-256 in hex.
        predicate_type: URI of the kind of statement.
        predicate: Further claims, a JSON object.
        key: Who signs.

    Returns:
        The DSSE envelope as canonical JSON.

    Raises:
        NotCanonicalError: The predicate has no canonical JSON.
    """
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject_name, "digest": {"sha256": subject_sha256}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    fields = _sign(canonical_bytes(statement), key)
    # Beside the signature and not under it: it only says which key to try, never whom to trust.
    fields["signatures"][0]["publicKey"] = base64.b64encode(key.public_key.raw).decode("ascii")
    return canonical_bytes(fields)


def sign_payload(payload: bytes, key: PrivateKey) -> bytes:
    """Sign an in-toto Statement for readers that have the key from elsewhere.

    Args:
        payload: The Statement's JSON.
        key: Who signs.

    Returns:
        A DSSE envelope of nothing but the format's own fields, as canonical JSON.
    """
    return canonical_bytes(_sign(payload, key))


def verify_envelope(
    data: bytes, trust: Trust, *, subject_name: str, subject_sha256: str, predicate_type: str
) -> SignedStatement:
    """Check an envelope: the signature, then what it is about, then whose it is.

    Args:
        data: The envelope.
        trust: Keys that count.
        subject_name: Name that must have been signed.
        subject_sha256: Digest that must have been signed, in hex.
        predicate_type: Kind of statement that must have been signed.

    Raises:
        SignatureInvalidError: No envelope, a wrong signature, or one over something else.
        UntrustedKeyError: All right, but the key is not trusted.
        AuditError: The signature could not be checked.
    """
    statement = unsafe_verify_envelope(
        data,
        subject_name=subject_name,
        subject_sha256=subject_sha256,
        predicate_type=predicate_type,
    )
    # Last: a file that was changed must not be called right but untrusted.
    trust.require(statement.key)
    return statement


def unsafe_verify_envelope(
    data: bytes, *, subject_name: str, subject_sha256: str, predicate_type: str
) -> SignedStatement:
    """Check an envelope by the key that it brings along: anybody can make one that passes.

    Only for showing what an untrusted file claims. Arguments and errors as in `verify_envelope`.
    """
    envelope, key = _parse_envelope(data)
    _verify_signature(envelope, key)
    statement = _parse_statement(envelope.payload, key)
    for field, expected, got in (
        ("subject name", subject_name, statement.subject_name),
        ("subject digest", subject_sha256, statement.subject_sha256),
        ("predicateType", predicate_type, statement.predicate_type),
    ):
        if got != expected:
            raise SignatureInvalidError(
                f"signature: expected {field} {expected}, got {got}; "
                "it was made for something else, or this was changed after signing"
            )
    return statement


def _sign(payload: bytes, key: PrivateKey) -> dict[str, Any]:
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key.secret, _library_key(key.public_key)))
    fields: dict[str, Any] = envelope.to_dict()
    return fields


def _library_key(key: PublicKey) -> SSlibKey:
    return SSlibKey(key.key_id, "ed25519", "ed25519", {"public": key.raw.hex()})


def _parse_envelope(data: bytes) -> tuple[Envelope, PublicKey]:
    # Before pydantic, whose parser keeps the last of two equal keys and reads any spelling.
    parsed = _parse_strictly("envelope", data)
    try:
        fields = _Envelope.model_validate_json(data)
    except ValidationError as error:
        raise SignatureInvalidError(
            "signature: expected a DSSE envelope with exactly one signature, "
            f"got {_first_problem(error)}; unsigned files are not accepted"
        ) from error
    signature = fields.signatures[0]
    raw = _decode_base64("publicKey", signature.public_key)
    _decode_base64("sig", signature.sig)
    _decode_base64("payload", fields.payload)
    # Messages and records name keys by their id, so it has to be that of the key that is used.
    if len(raw) != 32 or sha256_hex(raw) != signature.keyid:
        raise SignatureInvalidError("signature: keyid is not the digest of publicKey")
    # from_dict() takes its argument apart
    return Envelope.from_dict(copy.deepcopy(parsed)), PublicKey(raw=raw)


def _verify_signature(envelope: Envelope, key: PublicKey) -> None:
    (signature,) = envelope.signatures.values()
    try:
        _library_key(key).verify_signature(signature, envelope.pae())
    except VerificationError as error:
        # VerificationError is the library's "something else went wrong"
        raise AuditError(f"signature: could not be checked ({error})") from error
    except UnverifiedSignatureError as error:
        raise SignatureInvalidError(
            f"signature: wrong for key {key.key_id}; the file was changed after signing"
        ) from error


def _parse_statement(payload: bytes, key: PublicKey) -> SignedStatement:
    _parse_strictly("statement", payload)
    try:
        fields = _Statement.model_validate_json(payload)
    except ValidationError as error:
        raise SignatureInvalidError(
            f"signature: expected an in-toto Statement v1, got {_first_problem(error)}"
        ) from error
    return SignedStatement(
        subject_name=fields.subject[0].name,
        subject_sha256=fields.subject[0].digest.sha256,
        predicate_type=fields.predicate_type,
        predicate=fields.predicate,
        key=key,
    )


def _parse_strictly(what: str, data: bytes) -> dict[str, object]:
    try:
        parsed = parse_canonical(data)
    except NotCanonicalError as error:
        raise SignatureInvalidError(f"signature: {what} is {error}") from error
    if not isinstance(parsed, dict):
        raise SignatureInvalidError(f"signature: expected a JSON object as {what}, got another")
    return parsed


def _decode_base64(field: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureInvalidError(f"signature: {field} is not base64") from error
    # Two spellings of one signature would be two different files that both hold.
    if base64.b64encode(data).decode("ascii") != text:  # unused bits set
        raise SignatureInvalidError(f"signature: {field} is not base64 in its one spelling")
    return data


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
