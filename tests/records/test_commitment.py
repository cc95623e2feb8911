"""Commitments: to one bundle, and to a pack among others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from worlds.bundle_builder import OWNER_KEY, STRANGER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    STARTED,
    TRUST,
    audited_contents,
)

from audit.bundle.commitment import commitment_bytes, pack_commitments
from audit.errors import AuditError
from audit.records.check import Status
from audit.records.record import utc
from audit.records.verify import verify_record

LATER = STARTED + 3600


def test_a_commitment_before_the_audit_is_shown_as_the_owners_word(tmp_path: Path) -> None:
    check = _commitment_check(tmp_path, utc(STARTED - 30 * 86400))
    assert check[0] is Status.OPEN
    assert "30 days before the first question. That date is the owner's word" in check[1]


def test_a_commitment_after_the_first_question_is_refused(tmp_path: Path) -> None:
    status, text = _commitment_check(tmp_path, utc(STARTED + 30))
    assert status is Status.FAILED
    assert "after the first question" in text


def test_a_commitment_whose_time_names_no_zone_is_refused(tmp_path: Path) -> None:
    status, text = _commitment_check(tmp_path, "2024-12-24T00:00:00")
    assert status is Status.FAILED
    assert text == "commitment: expected a time with its zone, got 2024-12-24T00:00:00"


def test_a_commitment_that_the_owner_did_not_sign_is_refused(tmp_path: Path) -> None:
    status, text = _commitment_check(tmp_path, utc(STARTED - 60), AUDITOR_KEY)
    assert status is Status.FAILED
    assert "expected the owner's key" in text


def test_a_pack_is_shown_by_its_own_proof_and_by_no_other(tmp_path: Path) -> None:
    digest = audited_contents().manifest_sha256
    others = ["11" * 32, "22" * 32]
    committed = utc(STARTED - 86400 * 30)
    files = pack_commitments(
        [others[0], digest, others[1]], OWNER_KEY, committed=committed, timestamp=None
    )
    found = []
    for data in files:
        assert not any(other.encode() in data for other in others)
        found.append(_check_of(tmp_path, data))
    assert [status for status, _ in found] == [Status.FAILED, Status.OPEN, Status.FAILED]
    assert "(pack 2 of 3) says" in found[1][1]
    assert "30 days before the first question" in found[1][1]


def _shared() -> bytes:
    digest = audited_contents().manifest_sha256
    committed = utc(STARTED - 86400)
    return pack_commitments([digest, "11" * 32], OWNER_KEY, committed=committed, timestamp=None)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"pack":1', b'"pack":2'),
        lambda data: data.replace(b'"num_packs":2', b'"num_packs":3'),
        lambda data: data.replace(b'"pack":1', b'"pack":1,"more":1'),
        lambda data: data.replace(b'"path":["', b'"path":["' + b"0" * 64 + b'","'),
        lambda data: data + b"{}\n",
        lambda data: data.split(b"\n")[0] + b"\n",
        lambda data: data.split(b"\n")[0] + b"\n[]\n",
    ],
)
def test_a_proof_of_a_pack_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    changed = change(_shared())
    assert changed != _shared()
    status, text = _check_of(tmp_path, changed)
    assert status is Status.FAILED
    assert "commitment" in text or "signature" in text


def test_a_pack_is_not_committed_to_twice() -> None:
    with pytest.raises(AuditError, match="packs: expected different bundles"):
        pack_commitments(["11" * 32] * 2, OWNER_KEY, committed=utc(STARTED), timestamp=None)


def _commitment_check(
    tmp_path: Path, committed: str, key: object = OWNER_KEY
) -> tuple[Status, str]:
    assert isinstance(key, type(STRANGER_KEY))
    digest = audited_contents().manifest_sha256
    return _check_of(tmp_path, commitment_bytes(digest, key, committed=committed, timestamp=None))


def _check_of(tmp_path: Path, data: bytes) -> tuple[Status, str]:
    path = tmp_path / "test.kincommit"
    path.write_bytes(data)
    verification = verify_record(
        GOLDEN_RECORD, GOLDEN_BUNDLE, TRUST, commitment_path=path, now=LATER
    )
    (check,) = [check for check in verification.checks if check.name == "commitment"]
    return check.status, check.text
