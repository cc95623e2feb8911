"""Keys, envelopes and trust: what is accepted and, above all, what is not."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from worlds.bundle_builder import OWNER_KEY, OWNER_TRUST, STRANGER_KEY

from audit.commands.keygen import command as keygen
from audit.errors import AuditError, SignatureInvalidError, UntrustedKeyError
from audit.signing.canonical import (
    NotCanonicalError,
    array_sha256,
    canonical_bytes,
    parse_canonical,
    sha256_hex,
)
from audit.signing.envelope import (
    SignedStatement,
    sign_statement,
    unsafe_verify_envelope,
    verify_envelope,
)
from audit.signing.keys import (
    PrivateKey,
    Trust,
    load_private_key,
    load_public_key,
    load_trust,
    trusted_folder,
    write_key_pair,
)

DIGEST = sha256_hex(b"thing")
KIND = "https://kinprint.dev/test/v1"


def _envelope(key: PrivateKey = OWNER_KEY) -> bytes:
    return sign_statement("thing", DIGEST, KIND, {"answer": 42}, key)


def _verify(data: bytes, trust: Trust = OWNER_TRUST) -> SignedStatement:
    return verify_envelope(
        data, trust, subject_name="thing", subject_sha256=DIGEST, predicate_type=KIND
    )


def _altered(**changes: Any) -> bytes:
    return canonical_bytes({**json.loads(_envelope()), **changes})


def _signature_altered(**changes: Any) -> bytes:
    (signature,) = json.loads(_envelope())["signatures"]
    return _altered(signatures=[{**signature, **changes}])


def test_a_statement_is_read_back_with_its_signer() -> None:
    statement = _verify(_envelope())

    assert statement.predicate == {"answer": 42}
    assert statement.key == OWNER_KEY.public_key


def test_signing_twice_gives_the_same_bytes() -> None:
    assert _envelope() == _envelope()


def test_the_public_key_is_that_of_rfc_8032() -> None:
    raw = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

    assert OWNER_KEY.public_key.raw.hex() == raw
    assert OWNER_KEY.public_key.key_id == sha256_hex(bytes.fromhex(raw))


def test_the_payload_is_an_in_toto_statement() -> None:
    envelope = json.loads(_envelope())

    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": {"answer": 42},
        "predicateType": KIND,
        "subject": [{"digest": {"sha256": DIGEST}, "name": "thing"}],
    }


def test_a_right_signature_of_an_unknown_key_is_untrusted_and_not_wrong() -> None:
    with pytest.raises(UntrustedKeyError, match=r"signature: right, but .* \(1 other is\)"):
        _verify(_envelope(STRANGER_KEY))


def test_an_empty_trust_accepts_nobody() -> None:
    with pytest.raises(UntrustedKeyError, match="no key is"):
        _verify(_envelope(), Trust(keys=()))


def test_an_untrusted_envelope_can_be_looked_at_on_purpose() -> None:
    statement = unsafe_verify_envelope(
        _envelope(STRANGER_KEY), subject_name="thing", subject_sha256=DIGEST, predicate_type=KIND
    )

    assert statement.key == STRANGER_KEY.public_key


def test_any_changed_byte_of_an_envelope_is_refused() -> None:
    envelope = _envelope()

    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        with pytest.raises(SignatureInvalidError, match="signature: "):
            _verify(bytes(changed))


def test_a_signature_by_another_key_under_the_owners_name_is_wrong() -> None:
    (stranger,) = json.loads(_envelope(STRANGER_KEY))["signatures"]

    with pytest.raises(SignatureInvalidError, match="wrong for key"):
        _verify(_signature_altered(sig=stranger["sig"]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "expected a DSSE envelope with exactly one signature, got payload"),
        (_altered(signatures=[]), "exactly one signature"),
        (_altered(signatures=json.loads(_envelope())["signatures"] * 2), "exactly one signature"),
        (_altered(payloadType="text/plain"), "payloadType"),
        (_altered(extra=1), "extra"),
        (_signature_altered(extra=1), "extra"),
        (_signature_altered(keyid="0" * 64), "keyid is not the digest"),
        (_signature_altered(publicKey="AAAA"), "keyid is not the digest"),
        (_signature_altered(sig="AAAA"), "wrong for key"),
        (_signature_altered(sig="A*=="), "sig is not base64"),
        (_signature_altered(sig="AB=="), "sig is not base64 in its one spelling"),
        (_envelope() + b"\n", "not in its canonical form"),
        (_envelope().replace(b"{", b'{"payload":"",', 1), "names the same key twice"),
    ],
)
def test_a_malformed_envelope_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SignatureInvalidError, match=message):
        _verify(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject_name": "other"}, "subject name other, got thing"),
        ({"subject_sha256": "0" * 64}, "subject digest 0000"),
        ({"predicate_type": "https://kinprint.dev/test/v2"}, "predicateType"),
    ],
)
def test_a_statement_about_something_else_is_refused(changes: dict[str, str], message: str) -> None:
    expected = {"subject_name": "thing", "subject_sha256": DIGEST, "predicate_type": KIND}

    with pytest.raises(SignatureInvalidError, match=message):
        verify_envelope(_envelope(), OWNER_TRUST, **{**expected, **changes})


def test_what_is_signed_is_refused_if_it_is_no_statement() -> None:
    with pytest.raises(
        SignatureInvalidError, match=r"expected an in-toto Statement v1, got .*name"
    ):
        _verify(sign_statement(7, DIGEST, KIND, {}, OWNER_KEY))  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
        ({"subject": []}, "subject"),
        (
            {"subject": [{"name": "thing", "digest": {"sha256": DIGEST}}] * 2},
            "subject: Tuple should have at most 1 item",
        ),
        ({"subject": [{"name": "thing", "digest": {"sha256": DIGEST, "md5": ""}}]}, "subject"),
        ({"note": "beside"}, "note"),
    ],
)
def test_a_rightly_signed_statement_of_another_form_is_refused(
    changes: dict[str, object], problem: str
) -> None:
    statement = json.loads(base64.b64decode(json.loads(_envelope())["payload"]))
    payload, kind = canonical_bytes({**statement, **changes}), b"application/vnd.in-toto+json"
    # DSSE 1.0: what is signed is "DSSEv1", and length and bytes of the type and of the payload.
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = base64.b64encode(OWNER_KEY.secret.sign(signed)).decode()
    (fields,) = json.loads(_envelope())["signatures"]

    with pytest.raises(SignatureInvalidError, match=f"in-toto Statement v1, got {problem}"):
        _verify(
            _altered(
                payload=base64.b64encode(payload).decode(),
                signatures=[{**fields, "sig": signature}],
            )
        )


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_pair_survives_its_files(tmp_path: Path, passphrase: str | None) -> None:
    public_path = write_key_pair(tmp_path / "owner.key", OWNER_KEY, passphrase)

    key = load_private_key(tmp_path / "owner.key", passphrase)
    assert _envelope(key) == _envelope()
    assert load_public_key(public_path) == OWNER_KEY.public_key
    assert public_path == tmp_path / "owner.pub"


def test_only_its_owner_may_read_a_private_key(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "owner.key", OWNER_KEY, None)

    assert stat.S_IMODE((tmp_path / "owner.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("passphrase", "message"), [("wrong", "does not open this key"), (None, "is encrypted")]
)
def test_an_encrypted_key_needs_its_passphrase(
    tmp_path: Path, passphrase: str | None, message: str
) -> None:
    write_key_pair(tmp_path / "owner.key", OWNER_KEY, "right")

    with pytest.raises(AuditError, match=rf"passphrase: .*{message}.*owner\.key"):
        load_private_key(tmp_path / "owner.key", passphrase)


@pytest.mark.parametrize("existing", ["owner.key", "owner.pub"])
def test_existing_keys_are_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")

    with pytest.raises(AuditError, match="exists already"):
        write_key_pair(tmp_path / "owner.key", OWNER_KEY, None)

    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.pub").write_text("hello")

    with pytest.raises(AuditError, match=r"expected an Ed25519 public key.*odd\.pub"):
        load_public_key(tmp_path / "odd.pub")
    with pytest.raises(AuditError, match=r"expected an Ed25519 private key.*odd\.pub"):
        load_private_key(tmp_path / "odd.pub")
    with pytest.raises(AuditError, match=r"cannot be read: No such file.*gone\.pub"):
        load_public_key(tmp_path / "gone.pub")


def test_a_key_file_is_at_most_64_kib(tmp_path: Path) -> None:
    path = tmp_path / "long.pub"
    path.write_bytes(OWNER_KEY.public_key.pem.ljust(65536, b"\n"))
    assert load_public_key(path) == OWNER_KEY.public_key

    path.write_bytes(OWNER_KEY.public_key.pem.ljust(65537, b"\n"))
    with pytest.raises(AuditError, match=r"expected at most 65536 bytes, got more.*long\.pub"):
        load_public_key(path)


def test_trust_is_what_is_named_and_what_lies_in_the_trusted_folder(tmp_path: Path) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    write_key_pair(tmp_path / "owner.key", OWNER_KEY, None)
    write_key_pair(folder / "friend.key", STRANGER_KEY, None)

    trust = load_trust([tmp_path / "owner.pub"], folder)

    assert trust == Trust(keys=(OWNER_KEY.public_key, STRANGER_KEY.public_key))


def test_the_trusted_folder_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "kinprint" / "trusted"
    folder.mkdir(parents=True)
    write_key_pair(folder / "friend.key", STRANGER_KEY, None)

    assert trusted_folder() == folder
    assert load_trust([]) == Trust(keys=(STRANGER_KEY.public_key,))


def test_a_missing_trusted_folder_trusts_nobody(tmp_path: Path) -> None:
    assert load_trust([], tmp_path / "nowhere") == Trust(keys=())


def test_a_damaged_key_in_the_trusted_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.pub").write_bytes(b"")

    with pytest.raises(AuditError, match=r"bad\.pub"):
        load_trust([], tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: 2}, object()])
def test_what_json_cannot_say_has_no_canonical_form(value: object) -> None:
    with pytest.raises(NotCanonicalError, match="no canonical JSON"):
        canonical_bytes(value)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{"a": 1}', b"1.0", b"-0", b'"\\u0041"', b'{"a":1,"a":1}', b"NaN"]
)
def test_other_spellings_than_the_canonical_one_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonicalError, match=r"canonical form|twice|NaN is not JSON"):
        parse_canonical(data)


def test_an_array_has_one_digest_whatever_the_order_of_its_bytes_in_memory() -> None:
    values = np.array([[1, 2], [3, 258]], dtype=np.int16)
    digest = sha256_hex(bytes([1, 0, 2, 0, 3, 0, 2, 1]))

    assert array_sha256(values) == array_sha256(values.astype(">i2")) == digest
    assert array_sha256(np.asfortranarray(values)) == digest


def test_keygen_writes_a_pair_and_prints_its_id(tmp_path: Path) -> None:
    result = CliRunner().invoke(keygen, [str(tmp_path / "owner.key")])

    key = load_public_key(tmp_path / "owner.pub")
    assert result.exit_code == 0
    assert result.stdout == f"{key.key_id}\n"
    assert "--trust owner.pub" in result.stderr
    assert load_private_key(tmp_path / "owner.key").public_key == key


def test_keygen_takes_the_passphrase_from_the_environment(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "owner.key"), "--passphrase-env", "KINPRINT_TEST"]

    result = CliRunner(env={"KINPRINT_TEST": "secret"}).invoke(keygen, arguments)

    assert result.exit_code == 0
    assert "secret" not in result.output
    assert load_private_key(tmp_path / "owner.key", "secret")


def test_keygen_asks_for_the_passphrase_twice(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "owner.key"), "--passphrase"]

    result = CliRunner().invoke(keygen, arguments, input="secret\nsecret\n")

    assert result.exit_code == 0
    assert "secret" not in result.output
    assert load_private_key(tmp_path / "owner.key", "secret")


def test_keygen_without_the_named_variable_writes_nothing(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "owner.key"), "--passphrase-env", "KINPRINT_UNSET"]

    result = CliRunner().invoke(keygen, arguments)

    assert result.exit_code == 2
    assert "KINPRINT_UNSET is not set" in result.stderr
    assert list(tmp_path.iterdir()) == []
