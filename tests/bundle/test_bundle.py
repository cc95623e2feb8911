"""Bundle files: byte-exact writing, signatures and trust, and a manifest read strictly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.bundle_builder import (
    GOLDEN,
    GOLDEN_PUBLIC_KEY,
    OWNER_KEY,
    OWNER_TRUST,
    STRANGER_KEY,
    golden_manifest,
    golden_members,
    packed,
    resigned,
    small_arrays,
    small_bundle,
    small_contents,
    small_manifest,
)

from audit.atomic_file import write_atomically
from audit.bundle.bundle_file import (
    parse_bundle,
    read_bundle,
    unsafe_read_untrusted_bundle,
    write_bundle,
)
from audit.bundle.manifest import Arrays
from audit.bundle.zip_layout import pack, unpack
from audit.errors import AuditError, BundleError, SignatureInvalidError, UntrustedKeyError
from audit.signing.canonical import canonical_bytes, sha256_hex
from audit.signing.envelope import BUNDLE_PREDICATE_TYPE, sign_statement
from audit.signing.keys import PublicKey, Trust


def test_the_golden_bundle_still_opens() -> None:
    contents = small_contents()

    assert contents.manifest.model_name == "small-test-model"
    assert contents.manifest.task.class_names == ("cat", "dog", "frog", "ship")
    assert contents.signer_key_id == OWNER_KEY.public_key.key_id
    assert contents.manifest_sha256 == sha256_hex(golden_members()["manifest.json"])


def test_the_builder_reproduces_the_golden_bytes(tmp_path: Path) -> None:
    assert small_bundle(tmp_path / "small.kinprint").read_bytes() == GOLDEN.read_bytes()
    assert GOLDEN_PUBLIC_KEY.read_bytes() == OWNER_KEY.public_key.pem


def test_a_bundle_gives_back_what_was_written(tmp_path: Path) -> None:
    digest = write_bundle(tmp_path / "b.kinprint", small_manifest(), small_arrays(), OWNER_KEY)

    contents = read_bundle(tmp_path / "b.kinprint", OWNER_TRUST)

    assert contents.manifest_sha256 == digest
    for field in fields(Arrays):
        written, read = getattr(small_arrays(), field.name), getattr(contents.arrays, field.name)
        assert written.dtype == read.dtype
        np.testing.assert_array_equal(written, read, err_msg=field.name)
    unsealed = {"arrays": {}, "arrays_file_sha256": "0" * 64}
    assert contents.manifest.model_copy(update=unsealed) == small_manifest()


def test_the_memory_order_of_the_inputs_does_not_matter(tmp_path: Path) -> None:
    arrays = replace(small_arrays(), triggers=np.asfortranarray(small_arrays().triggers))

    write_bundle(tmp_path / "b.kinprint", small_manifest(), arrays, OWNER_KEY)

    assert (tmp_path / "b.kinprint").read_bytes() == GOLDEN.read_bytes()


def test_an_unsigned_bundle_is_refused() -> None:
    envelope = json.loads(golden_members()["signature.json"])
    envelope["signatures"] = []

    with pytest.raises(SignatureInvalidError, match="unsigned files are not accepted"):
        parse_bundle(packed(signature=canonical_bytes(envelope)), OWNER_TRUST)
    with pytest.raises(SignatureInvalidError, match="not JSON"):
        parse_bundle(packed(signature=b""), OWNER_TRUST)


def test_a_bundle_of_an_unknown_key_opens_only_on_purpose(tmp_path: Path) -> None:
    path = small_bundle(tmp_path / "b.kinprint", STRANGER_KEY)

    with pytest.raises(UntrustedKeyError, match="is not trusted"):
        read_bundle(path, OWNER_TRUST)
    contents = unsafe_read_untrusted_bundle(path)
    assert contents.signer_key_id == STRANGER_KEY.public_key.key_id


def test_the_signature_of_another_manifest_does_not_fit(tmp_path: Path) -> None:
    other = small_manifest().model_copy(update={"tau": 0.25})
    write_bundle(tmp_path / "b.kinprint", other, small_arrays(), OWNER_KEY)
    envelope = unpack((tmp_path / "b.kinprint").read_bytes())["signature.json"]

    with pytest.raises(SignatureInvalidError, match="expected subject digest"):
        parse_bundle(packed(signature=envelope), OWNER_TRUST)


def test_a_manifest_resigned_by_a_stranger_is_untrusted() -> None:
    data = canonical_bytes(golden_manifest(owner="Somebody else"))
    envelope = sign_statement(
        "manifest.json", sha256_hex(data), BUNDLE_PREDICATE_TYPE, {}, STRANGER_KEY
    )

    with pytest.raises(UntrustedKeyError, match="is not trusted"):
        parse_bundle(packed(manifest=data, signature=envelope), OWNER_TRUST)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format_version": 3}, BundleError, "expected 2, the only one .* got 3; use a newer"),
        ({"format": "zip"}, BundleError, "format: expected kinprint-bundle"),
        ({"surprise": 1}, BundleError, "surprise: Extra inputs"),
        ({"tau": 0}, BundleError, "tau: Input should be greater than or equal to 0.05"),
        ({"created": "2024-13-01T00:00:00Z"}, BundleError, "created: expected a time that exists"),
        ({"created": "9999-99-99T99:99:99Z"}, BundleError, "created: expected a time that exists"),
        (
            {"created": "2099-01-01T00:00:00Z"},
            BundleError,
            "created: expected a time that has been",
        ),
        ({"arrays": {}}, BundleError, "manifest.json: arrays: missing or unknown: carriers"),
        ({"arrays_file_sha256": "0" * 64}, SignatureInvalidError, "arrays.safetensors: expected"),
    ],
)
def test_a_signed_manifest_that_cannot_be_read_is_refused(
    changes: dict[str, Any], error: type[AuditError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_bundle(resigned(golden_manifest(**changes)), OWNER_TRUST)


def test_a_field_left_to_its_default_is_refused() -> None:
    manifest = golden_manifest()
    del manifest["score_version"]

    with pytest.raises(BundleError, match="every field to be written out"):
        parse_bundle(resigned(manifest), OWNER_TRUST)


def test_a_signed_manifest_in_another_spelling_is_refused() -> None:
    data = json.dumps(golden_manifest(), indent=1).encode()
    envelope = sign_statement(
        "manifest.json", sha256_hex(data), BUNDLE_PREDICATE_TYPE, {}, OWNER_KEY
    )

    with pytest.raises(BundleError, match="not in its canonical form"):
        parse_bundle(packed(manifest=data, signature=envelope), OWNER_TRUST)


def test_a_wrong_digest_of_one_array_is_refused() -> None:
    digests = {**golden_manifest()["arrays"], "queries": "0" * 64}

    with pytest.raises(SignatureInvalidError, match=r"queries: expected SHA-256 0000"):
        parse_bundle(resigned(golden_manifest(arrays=digests)), OWNER_TRUST)


def test_arrays_that_are_not_safetensors_are_refused() -> None:
    manifest = golden_manifest(arrays_file_sha256=sha256_hex(b"nonsense"))
    members = unpack(resigned(manifest))
    members["arrays.safetensors"] = b"nonsense"

    with pytest.raises(BundleError, match=r"arrays.safetensors: not safetensors"):
        parse_bundle(b"".join(pack(members)), OWNER_TRUST)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, pieces())

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"cannot read .*gone.kinprint: No such file"):
        read_bundle(tmp_path / "gone.kinprint", OWNER_TRUST)
    with pytest.raises(AuditError, match=r"cannot write .*gone/b.kinprint: No such file"):
        small_bundle(tmp_path / "gone" / "b.kinprint")


def test_reading_a_bundle_never_loads_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from audit.bundle.bundle_file import read_bundle; "
        "from audit.signing.keys import load_trust; "
        "import audit.bundle.probes, audit.report.contact_sheet; "
        f"read_bundle(Path({str(GOLDEN)!r}), load_trust([Path({str(GOLDEN_PUBLIC_KEY)!r})])); "
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_public_key_file_is_all_that_a_reader_needs() -> None:
    trust = Trust(keys=(PublicKey.from_pem(GOLDEN_PUBLIC_KEY.read_bytes()),))

    assert read_bundle(GOLDEN, trust).manifest == small_contents().manifest
