"""Statements about a suspect: read and verified by other people's code, and by it alone."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format  # type: ignore[import-untyped]  # no stubs here
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # not in __all__
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_RECORD,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    interrupted,
    signed,
)

from audit.documents.attestation import attest, make_schema, schema_text, subject_of
from audit.errors import RecordError, UntrustedKeyError
from audit.records.record import RecordedSuspect, parse_record
from audit.signing.keys import PrivateKey

SUSPECT = b"suspect"
"""The bytes of the golden record's suspect."""


def key_file(folder: Path, key: PrivateKey) -> Path:
    path = folder / "auditor.key"
    path.write_bytes(key.to_pem(None))
    path.chmod(0o600)
    return path


@pytest.fixture
def attestation(tmp_path: Path) -> Path:
    out = tmp_path / "suspect.intoto.json"
    key = key_file(tmp_path, AUDITOR_KEY)
    done = run("record", "attest", GOLDEN_RECORD, out, "--auditor-key", key)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"attestation: {out}\n"
    return out


def verified(path: Path, key: PrivateKey) -> bytes:
    """Return the payload that securesystemslib finds signed, with a key that it reads from PEM."""
    public = load_pem_public_key(key.public_key.pem)
    foreign = SSlibKey.from_crypto(public)
    envelope = Envelope.from_dict(json.loads(path.read_text()))
    foreign.keyid = next(iter(envelope.signatures))  # a hint; this library looks keys up by it
    envelope.verify([foreign], threshold=1)
    payload: bytes = envelope.payload
    return payload


def test_others_verify_who_signed_and_which_file_it_is_about(attestation: Path) -> None:
    payload = verified(attestation, AUDITOR_KEY)
    # Parsed into in-toto's own protobuf, which refuses fields that a Statement does not have.
    statement = Statement.copy_from_pb(json_format.Parse(payload, statement_pb2.Statement()))
    statement.validate()
    (subject,) = statement.pb.subject
    assert subject.name == "suspect.onnx"
    assert dict(subject.digest) == {"sha256": hashlib.sha256(SUSPECT).hexdigest()}
    assert statement.pb.predicate["verdict"] == "derived"


def test_others_refuse_another_key_and_changed_bytes(attestation: Path) -> None:
    with pytest.raises(VerificationError):
        verified(attestation, OWNER_KEY)
    document = json.loads(attestation.read_text())
    document["payload"] = document["payload"][:-8] + "AAAAAAA="
    attestation.write_text(json.dumps(document))
    with pytest.raises(VerificationError):
        verified(attestation, AUDITOR_KEY)


def test_the_predicate_says_what_the_record_says_and_names_it(attestation: Path) -> None:
    record = parse_record(GOLDEN_RECORD.read_bytes(), TRUST)
    predicate = json.loads(verified(attestation, AUDITOR_KEY))["predicate"]
    jsonschema.validate(predicate, make_schema())
    assert record.closing.outcome is not None
    (score,) = record.closing.outcome.scores
    assert predicate["scores"][0]["value"] == score.value
    assert predicate["pValue"] == score.p_value
    lines = GOLDEN_RECORD.read_bytes().split(b"\n")
    assert predicate["record"]["digest"]["sha256"] == hashlib.sha256(lines[-3]).hexdigest()
    assert predicate["journal"]["digest"]["sha256"] == hashlib.sha256(lines[-4]).hexdigest()
    assert predicate["bundle"]["digest"]["sha256"] == audited_contents().manifest_sha256
    assert predicate["numAnswers"] == 32  # 8 control images and 24 queries
    assert predicate["rule"] == record.opening.settings


def test_an_endpoint_is_named_by_address_and_certificate() -> None:
    draft = fixed_draft(audited_contents(), copy_rule)
    address = "https://api.vendor.example/classify"
    suspect = RecordedSuspect(kind="endpoint", name=address, digest="5" * 64)
    told = {"tls.certificate_sha256": "c" * 64, "header.server": "vendor"}
    draft = dataclasses.replace(
        draft,
        opening=draft.opening.model_copy(update={"suspect": suspect}),
        rows=[{**row, "metadata": told} for row in draft.rows],
    )
    subject: dict[str, Any] = subject_of(parse_record(signed(draft), TRUST))
    assert subject == {
        "name": address,
        "uri": address,
        "digest": {"sha256": "5" * 64},
        "annotations": {"tls.certificate_sha256": ["c" * 64]},
    }


def test_nobody_attests_an_audit_without_a_verdict_or_another_auditors() -> None:
    draft = fixed_draft(audited_contents(), copy_rule)
    broken_off = signed(interrupted(draft, num_rows=4))
    with pytest.raises(RecordError, match="attestation: expected an audit that came to a verdict"):
        attest(broken_off, AUDITOR_KEY)
    with pytest.raises(UntrustedKeyError, match="only who signed a record can attest it"):
        attest(signed(draft), OWNER_KEY)


def test_the_shipped_schema_is_what_the_models_say() -> None:
    assert json.loads(schema_text()) == make_schema()
