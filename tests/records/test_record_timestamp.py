"""Timestamps by a local authority: right ones count, all others are refused by name."""

import base64
import hashlib
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
from werkzeug import Request, Response
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
    draft_id,
)
from worlds.servers.timestamp_authority import TimestampAuthority

from audit.asking.session import AuditSession
from audit.bundle.commitment import commitment_bytes, read_commitment
from audit.errors import AuditError, SignatureInvalidError
from audit.journal.journal import Journal
from audit.records.check import Check, Status
from audit.records.from_journal import draft_record, export_record
from audit.records.record import record_bytes, utc
from audit.records.verify import Result, Verification, verify_record
from audit.signing.canonical import canonical_bytes
from audit.signing.timestamps import (
    check_imprint,
    encode_token,
    load_certificates,
    stamp_at,
    timestamp_request,
    verified_time,
)

SHA256, SHA512 = HashAlgorithm.SHA256, HashAlgorithm.SHA512
DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def url(authority: TimestampAuthority, httpserver: HTTPServer) -> str:
    """The authority behind HTTP, as RFC 3161 section 3.4 has it."""

    def reply(request: Request) -> Response:
        assert request.headers["Content-Type"] == "application/timestamp-query"
        return Response(authority.stamp(request.data), content_type="application/timestamp-reply")

    httpserver.expect_request("/tsr", method="POST").respond_with_handler(reply)
    return httpserver.url_for("/tsr")


def token(authority: TimestampAuthority, data: bytes = DATA) -> str:
    encoded = encode_token(authority.stamp(timestamp_request(data)))
    assert encoded is not None
    return encoded


def token_for(authority: TimestampAuthority, builder: TimestampRequestBuilder) -> str:
    encoded = encode_token(authority.stamp(builder.build().as_bytes()))
    assert encoded is not None
    return encoded


def test_a_token_of_a_known_authority_gives_its_time(authority: TimestampAuthority) -> None:
    certificates = load_certificates([authority.root])
    made = token(authority)
    assert verified_time(made, DIGEST, certificates) == check_imprint(made, DIGEST)


def test_a_token_counts_under_any_of_the_certificates_that_the_reader_brings(
    authority: TimestampAuthority, tmp_path: Path
) -> None:
    other = TimestampAuthority(tmp_path / "other")
    certificates = load_certificates([authority.root, other.root])
    for one in (authority, other):
        assert verified_time(token(one), DIGEST, certificates) > 0


def test_a_token_without_its_certificate_counts_under_the_one_that_the_reader_brings(
    authority: TimestampAuthority,
) -> None:
    builder = TimestampRequestBuilder().data(DATA).hash_algorithm(SHA256)
    made = token_for(authority, builder.cert_request(cert_request=False))
    root, own = authority.root, authority.root.with_name("tsa.pem")
    assert verified_time(made, DIGEST, load_certificates([root, own])) == check_imprint(
        made, DIGEST
    )
    with pytest.raises(SignatureInvalidError, match="timestamp: it does not hold"):
        verified_time(made, DIGEST, load_certificates([root]))


def test_an_imprint_by_another_digest_is_refused(authority: TimestampAuthority) -> None:
    made = token_for(authority, TimestampRequestBuilder().data(DATA).hash_algorithm(SHA512))
    imprint = hashlib.sha512(DATA).hexdigest()
    with pytest.raises(SignatureInvalidError, match="expected a SHA-256 imprint, got another"):
        verified_time(made, imprint, load_certificates([authority.root]))


def test_a_refusal_of_the_authority_is_no_token(authority: TimestampAuthority) -> None:
    refusal = encode_token(authority.stamp(b"no query"))
    assert refusal is not None
    with pytest.raises(SignatureInvalidError, match="not an RFC 3161 reply"):
        check_imprint(refusal, DIGEST)


def test_a_refusal_is_none_either_with_a_token_behind_it(authority: TimestampAuthority) -> None:
    # PKIStatusInfo of RFC 3161, section 2.4.2, in DER: granted is 0, rejection 2.
    granted, rejection = bytes.fromhex("3003020100"), bytes.fromhex("3003020102")
    reply = base64.b64decode(token(authority)).replace(granted, rejection, 1)
    with pytest.raises(SignatureInvalidError, match="the authority refused to make one"):
        check_imprint(base64.b64encode(reply).decode(), DIGEST)


def test_a_token_over_other_bytes_is_refused(authority: TimestampAuthority) -> None:
    certificates = load_certificates([authority.root])
    with pytest.raises(SignatureInvalidError, match="Mismatch between messages"):
        verified_time(token(authority, b"other bytes"), DIGEST, certificates)
    with pytest.raises(SignatureInvalidError, match="expected one over"):
        check_imprint(token(authority, b"other bytes"), DIGEST)


def test_a_token_of_another_authority_is_refused(
    authority: TimestampAuthority, tmp_path: Path
) -> None:
    stranger = TimestampAuthority(tmp_path / "stranger")
    with pytest.raises(SignatureInvalidError, match="timestamp: it does not hold"):
        verified_time(token(stranger), DIGEST, load_certificates([authority.root]))


def test_a_token_made_after_its_certificate_expired_is_refused(tmp_path: Path) -> None:
    expired = TimestampAuthority(
        tmp_path / "expired", not_before="20200101000000Z", not_after="20210101000000Z"
    )
    with pytest.raises(SignatureInvalidError, match="timestamp: it does not hold"):
        verified_time(token(expired), DIGEST, load_certificates([expired.root]))


@pytest.mark.parametrize("malformed", ["", "AAAA", "not base64!", base64.b64encode(b"x" * 99)])
def test_a_malformed_token_is_refused(malformed: str | bytes) -> None:
    text = malformed if isinstance(malformed, str) else malformed.decode()
    with pytest.raises(SignatureInvalidError, match="not an RFC 3161 reply"):
        check_imprint(text, DIGEST)


def test_a_token_has_one_spelling(authority: TimestampAuthority) -> None:
    made = token(authority)
    with pytest.raises(SignatureInvalidError, match="not an RFC 3161 reply"):
        check_imprint(f"{made[:40]}*{made[40:]}", DIGEST)


def test_every_changed_byte_of_a_tokens_content_is_refused(authority: TimestampAuthority) -> None:
    certificates = load_certificates([authority.root])
    reply = base64.b64decode(token(authority))
    start = reply.index(bytes.fromhex(DIGEST))
    for position in range(start, start + 32):
        changed = bytearray(reply)
        changed[position] ^= 1
        with pytest.raises(SignatureInvalidError):
            verified_time(base64.b64encode(bytes(changed)).decode(), DIGEST, certificates)


def test_an_authority_that_answers_nonsense_is_named(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/tsr").respond_with_data(b"hello")
    with pytest.raises(AuditError, match=r"--timestamp-url: .*not an RFC 3161 reply"):
        stamp_at(httpserver.url_for("/tsr"))(DATA)


@pytest.mark.parametrize(
    ("size", "told"), [(2**20, "not an RFC 3161 reply"), (2**20 + 1, "expected a timestamp from")]
)
def test_an_answer_of_more_than_a_mebibyte_is_not_looked_at(
    httpserver: HTTPServer, size: int, told: str
) -> None:
    httpserver.expect_request("/tsr").respond_with_data(bytes(size))
    with pytest.raises(AuditError, match=rf"--timestamp-url: .*{told}"):
        stamp_at(httpserver.url_for("/tsr"))(DATA)


def test_an_authority_that_is_not_there_is_named(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/tsr").respond_with_data(b"", status=503)
    with pytest.raises(AuditError, match="got status 503"):
        stamp_at(httpserver.url_for("/tsr"))(DATA)


def test_without_the_extra_it_is_named_and_a_token_counts_as_not_checked(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stamped(tmp_path, url, None)
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(AuditError, match=r'pip install "kinprint\[timestamp\]"'):
        stamp_at("http://127.0.0.1/")
    verification = verify_record(tmp_path / "stamped.kinrecord", GOLDEN_BUNDLE, TRUST)
    assert verification.result is Result.HOLDS
    assert _check(verification, "bundle").status is Status.OPEN


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with pytest.raises(AuditError, match=r"--tsa-cert: expected PEM certificates in .*empty\.pem"):
        load_certificates([path])


def test_an_audit_can_be_stamped_before_its_first_question_and_after_its_last(
    tmp_path: Path, authority: TimestampAuthority, url: str
) -> None:
    verification = _stamped(tmp_path, url, authority)
    assert verification.result is Result.HOLDS
    first, last = _check(verification, "bundle"), _check(verification, "answers")
    assert first.status is Status.HELD
    assert "before the first question" in first.text
    assert last.status is Status.HELD


def test_an_audit_of_the_journal_is_stamped_when_its_record_is_exported(
    tmp_path: Path, authority: TimestampAuthority, url: str
) -> None:
    bundle, path = audited_contents(), tmp_path / "out.kinrecord"
    journal = Journal(tmp_path / "journal.sqlite")
    list(AuditSession(bundle, FakeSuspect(bundle, copy_rule), journal).run())
    export_record(journal, draft_id(journal), path, AUDITOR_KEY, stamp=stamp_at(url))
    journal.close()
    certificates = load_certificates([authority.root])
    verification = verify_record(path, GOLDEN_BUNDLE, TRUST, certificates=certificates)
    assert _check(verification, "answers").status is Status.HELD


def test_without_the_authoritys_certificate_a_stamp_is_told_as_not_checked(
    tmp_path: Path, url: str
) -> None:
    verification = _stamped(tmp_path, url, None)
    assert verification.result is Result.HOLDS
    assert _check(verification, "bundle").status is Status.OPEN
    assert "--tsa-cert" in _check(verification, "bundle").text


def test_a_stamp_over_another_chain_is_refused(
    tmp_path: Path, authority: TimestampAuthority, url: str
) -> None:
    verification = _stamped(tmp_path, url, authority, over=DATA)
    assert verification.result is Result.REFUSED
    assert _check(verification, "answers").status is Status.FAILED
    assert "Mismatch between messages" in _check(verification, "answers").text


def test_a_stamped_commitment_shows_that_the_bundle_is_older(
    tmp_path: Path, authority: TimestampAuthority
) -> None:
    bundle = audited_contents()
    manifest = canonical_bytes(bundle.manifest.model_dump(mode="json"))
    path = tmp_path / "early.kincommit"
    path.write_bytes(
        commitment_bytes(
            bundle.manifest_sha256,
            OWNER_KEY,
            committed=utc(0),
            timestamp=token(authority, manifest),
        )
    )
    assert read_commitment(path, bundle.manifest_sha256, TRUST).committed.startswith("1970")
    record = tmp_path / "test.kinrecord"
    record.write_bytes(_record(tmp_path))
    verification = verify_record(
        record,
        GOLDEN_BUNDLE,
        TRUST,
        commitment_path=path,
        certificates=load_certificates([authority.root]),
    )
    (check,) = [check for check in verification.checks if check.name == "commitment"]
    # The authority's clock has whole seconds: the first question may fall into the same one.
    assert check.status is Status.HELD
    assert "a time-stamping authority saw it at" in check.text


def _stamped(
    tmp_path: Path, url: str, authority: TimestampAuthority | None, *, over: bytes | None = None
) -> Verification:
    stamp = stamp_at(url)
    bundle = audited_contents()
    journal = Journal(tmp_path / "journal.sqlite")
    list(AuditSession(bundle, FakeSuspect(bundle, copy_rule), journal, stamp=stamp).run())
    draft = draft_record(journal, draft_id(journal))
    journal.close()
    data = record_bytes(
        draft,
        AUDITOR_KEY,
        written=draft.finished or "",
        stamp=stamp if over is None else lambda _: stamp(over),
    )
    path = tmp_path / "stamped.kinrecord"
    path.write_bytes(data)
    certificates = () if authority is None else load_certificates([authority.root])
    return verify_record(path, GOLDEN_BUNDLE, TRUST, certificates=certificates)


def _record(tmp_path: Path) -> bytes:
    bundle = audited_contents()
    journal = Journal(tmp_path / "plain.sqlite")
    list(AuditSession(bundle, FakeSuspect(bundle, copy_rule), journal).run())
    draft = draft_record(journal, draft_id(journal))
    journal.close()
    return record_bytes(draft, AUDITOR_KEY, written=draft.finished or "")


def _check(verification: Verification, about: str) -> Check:
    (check,) = [check for check in verification.checks if check.name == f"timestamp of the {about}"]
    return check
