"""An audit as an in-toto Statement about the suspect, for readers that do not know Kinprint.

Its subject is the suspect, its predicate what the record says (docs/record-format.md, section 11).
``python -m audit.documents.attestation`` writes the predicate's JSON Schema
(``attestation.schema.json``) anew; a test compares the two. The evidence stays the record: whoever
holds a Statement knows who says what of which file, and by the digests in it which record proves
it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from adapters.http.server_identity import CERTIFICATE
from adapters.printable import printable
from adapters.strict_model import FrozenModel
from audit.bundle.manifest import Sha256
from audit.documents.json_schema import schema_of, shipped_schema, write_schema
from audit.errors import RecordError, UntrustedKeyError
from audit.records.endpoint_identity import said
from audit.records.record import Record, State, parse_record
from audit.records.verify import ENDPOINT
from audit.signing.canonical import canonical_bytes
from audit.signing.envelope import AUDIT_PREDICATE_TYPE, STATEMENT_TYPE, sign_payload
from audit.signing.keys import PrivateKey, Trust
from audit.verdict.outcome import ScoreOutcome, Verdict

_FILE = "attestation.schema.json"


class _Part(FrozenModel):
    # in-toto asks for lowerCamelCase in predicates.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Digest(_Part):
    """Digests of one thing."""

    sha256: Sha256


class Resource(_Part):
    """An in-toto ResourceDescriptor."""

    name: str
    digest: Digest


class AttestedScore(_Part):
    """One score of the suspect."""

    name: str
    access: str
    """What the suspect told: ``labels``, ``top-k`` or ``probabilities``."""
    verdict: Verdict
    value: float
    p_value: float
    """Against "innocent"."""
    p_derived: float
    """Against "derived"."""
    num_queries: int
    """Queries that the value rests on."""
    num_in_bundle: int


class AttestedControl(_Part):
    """How the suspect did on ordinary labelled images."""

    num_images: int
    accuracy: float
    source_accuracy: float
    comparable: bool


class AttestedSource(_Part):
    """The model that the suspect was compared with."""

    name: str
    owner: str
    weights: Digest


class AttestedCount(_Part):
    """Which audit of this suspect by this bundle it is in the auditor's journal."""

    number: int
    total: int


class AuditPredicate(_Part):
    """What an audit found."""

    model_config = ConfigDict(title=AUDIT_PREDICATE_TYPE)

    verdict: Verdict
    text: str
    """The same for people."""
    state: State
    p_value: float | None
    """How rarely an innocent model goes as far; null where the suspect is not comparable."""
    smallest_p_value: float | None
    """That the bundle's innocent models can give."""
    alpha: float
    """False-positive rate that was asked for."""
    beta: float
    """Miss rate that was asked for."""
    scores: tuple[AttestedScore, ...]
    """The deciding one first."""
    control: AttestedControl
    rule: dict[str, str]
    """Settings of the record."""
    source: AttestedSource
    bundle: Resource
    """Its digest is the bundle's identity, the manifest's SHA-256."""
    record: Resource
    """Its digest is the record's identity, the closing line's SHA-256."""
    journal: Resource
    """Its digest is the head of the chain of answers."""
    num_answers: int
    count: AttestedCount
    started: str
    finished: str | None
    auditor: dict[str, str]
    """``keyId``: the key that signed record and Statement; ``kinprint``: the version that asked."""


def attest(data: bytes, key: PrivateKey) -> bytes:
    """Sign what a record says of its suspect.

    Args:
        data: The record.
        key: The auditor's, which signed the record.

    Returns:
        A DSSE envelope with an in-toto Statement v1 as payload.

    Raises:
        UntrustedKeyError: Somebody else signed the record.
        RecordError: No record, or one without a verdict.
        SignatureInvalidError: Signature or a link of its chain is wrong.
    """
    try:
        record = parse_record(data, Trust(keys=(key.public_key,)))
    except UntrustedKeyError as error:
        raise UntrustedKeyError(
            f"attestation: expected a record that the key {key.public_key.key_id} has signed, got "
            "another auditor's; only who signed a record can attest it"
        ) from error
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [subject_of(record)],
        "predicateType": AUDIT_PREDICATE_TYPE,
        "predicate": predicate_of(record).model_dump(mode="json", by_alias=True),
    }
    return sign_payload(canonical_bytes(statement), key) + b"\n"


def subject_of(record: Record) -> dict[str, Any]:
    """Return the suspect as an in-toto ResourceDescriptor."""
    suspect = record.opening.suspect
    subject: dict[str, Any] = {
        "name": printable(suspect.name),
        "digest": {"sha256": suspect.digest},
    }
    if suspect.kind == ENDPOINT:
        subject["uri"] = suspect.name
        if certificates := said(record.rows).get(CERTIFICATE):
            subject["annotations"] = {CERTIFICATE: list(certificates)}
    return subject


def predicate_of(record: Record) -> AuditPredicate:
    """Return what a record says, without its answers.

    Raises:
        RecordError: The record has no verdict.
    """
    opening, closing, outcome = record.opening, record.closing, record.closing.outcome
    if outcome is None:
        raise RecordError(
            "attestation: expected an audit that came to a verdict, got one that was interrupted; "
            "go on with kinprint audit --resume and export its record anew"
        )
    manifest = opening.bundle.manifest
    return AuditPredicate(
        verdict=outcome.verdict,
        text=outcome.text,
        state=closing.state,
        p_value=outcome.p_value,
        smallest_p_value=outcome.smallest_p_value,
        alpha=outcome.alpha,
        beta=outcome.beta,
        scores=tuple(_score(one) for one in outcome.scores),
        control=AttestedControl(
            num_images=outcome.control.num_images,
            accuracy=outcome.control.accuracy,
            source_accuracy=outcome.control.source_accuracy,
            comparable=outcome.control.comparable,
        ),
        rule=opening.settings,
        source=AttestedSource(
            name=manifest.model_name,
            owner=manifest.owner,
            weights=Digest(sha256=manifest.source.weights_sha256),
        ),
        bundle=_resource("bundle", opening.bundle.sha256),
        record=_resource("record", record.digest),
        journal=_resource("answers", closing.previous),
        num_answers=closing.num_answers,
        count=AttestedCount(number=opening.count.number, total=opening.count.total),
        started=opening.started,
        finished=closing.finished,
        auditor=_auditor(record),
    )


def make_schema() -> dict[str, Any]:
    """Return the predicate's JSON Schema as the models say."""
    return schema_of(AuditPredicate)


def schema_text() -> str:
    """Return the shipped schema."""
    return shipped_schema(_FILE)


def _score(score: ScoreOutcome) -> AttestedScore:
    told: Mapping[str, Any] = score.model_dump(include=set(AttestedScore.model_fields))
    return AttestedScore(**told)


def _resource(name: str, sha256: str) -> Resource:
    return Resource(name=name, digest=Digest(sha256=sha256))


def _auditor(record: Record) -> dict[str, str]:
    version = record.opening.runs[-1].libraries.get("kinprint")
    return {"keyId": record.signer_key_id} | ({"kinprint": version} if version else {})


if __name__ == "__main__":
    write_schema(AuditPredicate, _FILE)
