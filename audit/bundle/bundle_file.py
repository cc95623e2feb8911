"""Trigger bundles as files: `BundleContents` to bytes and back (docs/bundle-format.md, version 1).

Writing: arrays -> digests -> manifest -> signature -> container. Reading goes the other way and
stops at the first thing that is wrong: container -> signature -> trust -> digests -> parse ->
consistency. Nothing of a manifest is used before the signature over its bytes has been checked,
and nothing is ever unpickled.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from adapters.strict_model import FrozenModel
from audit.atomic_file import write_atomically
from audit.bundle.consistency import ARRAY_NAMES, check_consistency
from audit.bundle.line_up import LineUp, LineUpArrays, LineUpRecord
from audit.bundle.line_up_consistency import LINE_UP_ARRAY_NAMES
from audit.bundle.manifest import Arrays, BundleContents, Manifest
from audit.bundle.tensors import expect_digest, load_tensors, save_tensors
from audit.bundle.weights import WEIGHTS_ARRAY_NAMES, Weights, WeightsArrays, WeightsRecord
from audit.bundle.zip_layout import (
    ARRAYS,
    LINE_UP,
    MANIFEST,
    MAX_CONTAINER_BYTES,
    SIGNATURE,
    WEIGHTS,
    pack,
    unpack,
)
from audit.errors import AuditError, BundleError
from audit.signing.canonical import (
    NotCanonicalError,
    canonical_bytes,
    parse_canonical,
    sha256_hex,
)
from audit.signing.envelope import (
    BUNDLE_PREDICATE_TYPE,
    sign_statement,
    unsafe_verify_envelope,
    verify_envelope,
)
from audit.signing.keys import PrivateKey, Trust
from audit.signing.times import is_ahead

FORMAT = "kinprint-bundle"
FORMAT_VERSION = 2
"""The only version that is read and written."""

UNSEALED = "0" * 64
"""Stands for a digest in a manifest that is not written yet."""


def write_bundle(
    path: Path,
    manifest: Manifest,
    arrays: Arrays,
    key: PrivateKey,
    line_up: LineUp | None = None,
    weights: Weights | None = None,
) -> str:
    """Write a signed bundle; the same inputs give the same bytes.

    Args:
        path: Where it goes; a file there is replaced, and only by a whole one.
        manifest: Everything but the digests: ``arrays`` and ``arrays_file_sha256`` are filled in
            here, whatever they hold (`UNSEALED`).
        arrays: The tensors.
        key: The owner's.
        line_up: The source among its siblings, sealed here like the rest; the manifest's own
            field is replaced.
        weights: The sketch of the source's weights, likewise.

    Returns:
        SHA-256 of the manifest's bytes, the bundle's identity.

    Raises:
        BundleError: Manifest and arrays do not fit each other.
        AuditError: The file cannot be written.
    """
    record = None if line_up is None else line_up.record
    sketched = None if weights is None else weights.record
    manifest = manifest.model_copy(update={"line_up": record, "weights": sketched})
    check_consistency(manifest, arrays, line_up, weights)
    members: dict[str, bytes] = {}
    members[ARRAYS], digests = save_tensors({name: getattr(arrays, name) for name in ARRAY_NAMES})
    if line_up is not None:
        members[LINE_UP], own_digests = save_tensors(
            {name: getattr(line_up.arrays, name) for name in LINE_UP_ARRAY_NAMES}
        )
        record = line_up.record.model_copy(
            update={
                "arrays": own_digests,
                "arrays_file_sha256": sha256_hex(members[LINE_UP]),
            }
        )
    if weights is not None:
        members[WEIGHTS], own_digests = save_tensors(
            {name: getattr(weights.arrays, name) for name in WEIGHTS_ARRAY_NAMES}
        )
        sketched = weights.record.model_copy(
            update={
                "arrays": own_digests,
                "arrays_file_sha256": sha256_hex(members[WEIGHTS]),
            }
        )
    sealed = manifest.model_copy(
        update={
            "line_up": record,
            "weights": sketched,
            "arrays": digests,
            "arrays_file_sha256": sha256_hex(members[ARRAYS]),
        }
    )
    manifest_bytes = _manifest_bytes(sealed)
    digest = sha256_hex(manifest_bytes)
    members[MANIFEST] = manifest_bytes
    members[SIGNATURE] = sign_statement(MANIFEST, digest, BUNDLE_PREDICATE_TYPE, {}, key)
    pieces = pack(members)
    _contents(members, Trust(keys=(key.public_key,)))  # what is signed can be read again
    try:
        write_atomically(path, pieces)
    except OSError as error:
        raise AuditError(f"bundle: cannot write {path}: {error.strerror}") from error
    return digest


def read_bundle(path: Path, trust: Trust) -> BundleContents:
    """Read a bundle that somebody trusted has signed.

    Args:
        path: The file.
        trust: Keys that count.

    Raises:
        BundleError: No bundle, cut short, of another version, or its parts do not fit.
        SignatureInvalidError: Signature or digest wrong.
        UntrustedKeyError: All right, but signed by a key that is not trusted.
        AuditError: The file cannot be opened.
    """
    return parse_bundle(_read(path), trust)


def parse_bundle(data: bytes, trust: Trust) -> BundleContents:
    """Read a bundle from its bytes. Arguments and errors as in `read_bundle`."""
    return _contents(unpack(data), trust)


def unsafe_read_untrusted_bundle(path: Path) -> BundleContents:
    """Read a bundle whoever signed it: anybody can make one that passes.

    Only for showing what the file claims, never for a verdict. Errors as in `read_bundle`.
    """
    return _contents(unpack(_read(path)), None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than is allowed tells a file that is too large, whatever its size says
            # of it.
            data = file.read(MAX_CONTAINER_BYTES + 1)
    except OSError as error:
        raise AuditError(f"bundle: cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_CONTAINER_BYTES:
        raise BundleError(f"bundle: expected at most {MAX_CONTAINER_BYTES} bytes, got more")
    return data


def _contents(members: Mapping[str, bytes], trust: Trust | None) -> BundleContents:
    # The signature is over these very bytes: they are parsed only after it was checked, and then
    # they name the digest of all others.
    digest = sha256_hex(members[MANIFEST])
    if trust is None:
        statement = unsafe_verify_envelope(
            members[SIGNATURE],
            subject_name=MANIFEST,
            subject_sha256=digest,
            predicate_type=BUNDLE_PREDICATE_TYPE,
        )
    else:
        statement = verify_envelope(
            members[SIGNATURE],
            trust,
            subject_name=MANIFEST,
            subject_sha256=digest,
            predicate_type=BUNDLE_PREDICATE_TYPE,
        )
    manifest = _parse_manifest(members[MANIFEST])
    expect_digest(ARRAYS, manifest.arrays_file_sha256, sha256_hex(members[ARRAYS]))
    arrays = _parse_arrays(members[ARRAYS], manifest.arrays)
    line_up = _parse_line_up(members.get(LINE_UP), manifest.line_up)
    weights = _parse_weights(members.get(WEIGHTS), manifest.weights)
    check_consistency(manifest, arrays, line_up, weights)
    return BundleContents(
        manifest=manifest,
        arrays=arrays,
        manifest_sha256=digest,
        signer_key_id=statement.key.key_id,
        line_up=line_up,
        weights=weights,
    )


def _manifest_bytes(manifest: Manifest) -> bytes:
    try:
        return canonical_bytes(manifest.model_dump(mode="json"))
    except NotCanonicalError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error


def _parse_manifest(data: bytes) -> Manifest:
    try:
        parsed = parse_canonical(data)
    except NotCanonicalError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise BundleError(f"{MANIFEST}: format: expected {FORMAT}, got something else")
    # Before the fields: another version may have others, and that is what is to be said then.
    if parsed.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{MANIFEST}: format_version: expected {FORMAT_VERSION}, the only one that this "
            f"Kinprint knows, got {parsed.get('format_version')!r}; use a newer Kinprint"
        )
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{MANIFEST}: {field}: {first['msg']}") from error
    if _manifest_bytes(manifest) != data:  # a field left to its default would not be signed
        raise BundleError(f"{MANIFEST}: expected every field to be written out")
    return manifest


def _parse_arrays(data: bytes, digests: Mapping[str, str]) -> Arrays:
    tensors = load_tensors(data, digests, names=ARRAY_NAMES, file=ARRAYS, field="arrays")
    return Arrays(**tensors)  # type: ignore[arg-type]  # types are checked by check_consistency


def _parse_line_up(data: bytes | None, record: LineUpRecord | None) -> LineUp | None:
    _expect_both(LINE_UP, data, record)
    if data is None or record is None:
        return None
    expect_digest(LINE_UP, record.arrays_file_sha256, sha256_hex(data))
    tensors = load_tensors(
        data, record.arrays, names=LINE_UP_ARRAY_NAMES, file=LINE_UP, field="line_up.arrays"
    )
    return LineUp(
        record=record,
        arrays=LineUpArrays(**tensors),  # type: ignore[arg-type]  # check_consistency
    )


def _parse_weights(data: bytes | None, record: WeightsRecord | None) -> Weights | None:
    _expect_both(WEIGHTS, data, record)
    if data is None or record is None:
        return None
    expect_digest(WEIGHTS, record.arrays_file_sha256, sha256_hex(data))
    tensors = load_tensors(
        data, record.arrays, names=WEIGHTS_ARRAY_NAMES, file=WEIGHTS, field="weights.arrays"
    )
    return Weights(
        record=record,
        arrays=WeightsArrays(**tensors),  # type: ignore[arg-type]  # check_consistency
    )


def _expect_both(member: str, data: bytes | None, record: FrozenModel | None) -> None:
    """Pass if the manifest describes an optional member exactly where it is there."""
    if (data is None) != (record is None):
        field = {LINE_UP: "line_up", WEIGHTS: "weights"}[member]
        there, missing = (member, MANIFEST) if record is None else (MANIFEST, member)
        raise BundleError(f"{field}: {there} has one, {missing} does not; get the file again")


def creation_time() -> str:
    """Return now as ``YYYY-MM-DDTHH:MM:SSZ``, or the time of ``SOURCE_DATE_EPOCH`` if that is set.

    Raises:
        AuditError: ``SOURCE_DATE_EPOCH`` is no time, or one that is still to come.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        now = datetime.now(UTC)
    else:
        try:
            now = datetime.fromtimestamp(int(epoch), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise AuditError(
                f"SOURCE_DATE_EPOCH: expected seconds since 1970, got {epoch!r}"
            ) from error
        if is_ahead(now.timestamp()):
            raise AuditError(
                f"SOURCE_DATE_EPOCH: expected a time that has been, got {now:%Y-%m-%dT%H:%M:%SZ}; "
                "nobody would open the bundle"
            )
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
