"""The container: any byte that is changed, missing or added is refused."""

import io
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from worlds.bundle_builder import (
    GOLDEN,
    MEMBERS,
    OWNER_TRUST,
    golden_members,
    packed,
)
from worlds.record_builder import GOLDEN_BUNDLE, TRUST

from audit.bundle.bundle_file import parse_bundle
from audit.bundle.zip_layout import MAX_MEMBER_BYTES, pack
from audit.errors import BundleError, SignatureInvalidError


def test_the_container_is_what_the_standard_library_writes() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in golden_members().items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)

    assert buffer.getvalue() == GOLDEN.read_bytes()


def test_flipping_any_byte_of_the_file_is_refused() -> None:
    golden = GOLDEN.read_bytes()

    for position in range(len(golden)):
        for bits in (0x01, 0x80, 0xFF):
            changed = bytearray(golden)
            changed[position] ^= bits
            with pytest.raises(BundleError, match=r"bundle: |expected at most"):
                parse_bundle(bytes(changed), OWNER_TRUST)


def test_five_thousand_random_changes_of_a_larger_bundle_are_refused() -> None:
    golden, rng = GOLDEN_BUNDLE.read_bytes(), np.random.default_rng(9)
    for _ in range(5000):
        changed = bytearray(golden)
        changed[int(rng.integers(len(golden)))] ^= int(rng.integers(1, 256))
        with pytest.raises(BundleError, match=r"bundle: |expected at most"):
            parse_bundle(bytes(changed), TRUST)


def _members_with_a_flipped_byte(stride: int) -> Iterator[bytes]:
    for name, data in golden_members().items():
        for position in range(0, len(data), stride):
            changed = bytearray(data)
            changed[position] ^= 0x01
            yield packed(**{name.split(".")[0]: bytes(changed)})


def test_flipping_a_byte_of_a_member_is_refused_also_if_the_container_is_mended() -> None:
    for data in _members_with_a_flipped_byte(stride=11):
        with pytest.raises(SignatureInvalidError, match=r"signature: |changed after signing"):
            parse_bundle(data, OWNER_TRUST)


def test_a_bundle_cut_short_anywhere_is_refused() -> None:
    golden = GOLDEN.read_bytes()

    for length in range(len(golden)):
        with pytest.raises(BundleError, match=r"cut short|another kind"):
            parse_bundle(golden[:length], OWNER_TRUST)


@pytest.mark.parametrize("extra", [b"\0", b"PK", b"x" * 1000])
def test_bytes_after_the_end_or_before_the_start_are_refused(extra: bytes) -> None:
    golden = GOLDEN.read_bytes()

    with pytest.raises(BundleError, match="bytes of the directory were changed or added"):
        parse_bundle(golden + extra, OWNER_TRUST)
    with pytest.raises(BundleError, match="another kind"):
        parse_bundle(extra + golden, OWNER_TRUST)


def _rezipped(
    order: tuple[str, ...], method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name in order:
            archive.writestr(
                zipfile.ZipInfo(name), golden_members().get(name, b"extra"), compress_type=method
            )
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        _rezipped(MEMBERS),  # other attributes
        _rezipped(MEMBERS[::-1]),
        _rezipped((*MEMBERS, "extra.txt")),
        _rezipped(MEMBERS[:2]),
        _rezipped(MEMBERS, zipfile.ZIP_DEFLATED),
        _rezipped(MEMBERS, comment=b"hello"),
    ],
    ids=["attributes", "order", "extra member", "missing member", "compressed", "comment"],
)
def test_a_container_of_another_layout_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"bundle: |expected at most"):
        parse_bundle(data, OWNER_TRUST)


def test_a_member_that_claims_to_be_huge_is_refused_before_it_is_read() -> None:
    data = bytearray(GOLDEN.read_bytes())
    data[18:26] = b"\xff" * 8

    with pytest.raises(BundleError, match=r"manifest.json: expected at most 16777216 bytes"):
        parse_bundle(bytes(data), OWNER_TRUST)


def test_a_member_that_could_not_be_read_again_is_not_written() -> None:
    members = golden_members()
    members["signature.json"] = bytes(MAX_MEMBER_BYTES["signature.json"] + 1)

    with pytest.raises(BundleError, match=r"signature.json: expected at most 65536 bytes"):
        pack(members)
