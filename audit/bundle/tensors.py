"""Tensors of a bundle as safetensors, with a digest of each in the manifest."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from audit.bundle.zip_layout import MANIFEST
from audit.errors import BundleError, SignatureInvalidError
from audit.signing.canonical import array_sha256, little_endian


def save_tensors(tensors: Mapping[str, NDArray[np.generic]]) -> tuple[bytes, dict[str, str]]:
    """Return the file's bytes and SHA-256 of each tensor's raw bytes, by name."""
    stored = {name: little_endian(tensor) for name, tensor in tensors.items()}
    digests = {name: array_sha256(tensor) for name, tensor in stored.items()}
    return safetensors_numpy.save(stored), digests


def load_tensors(
    data: bytes, digests: Mapping[str, str], *, names: Sequence[str], file: str, field: str
) -> dict[str, NDArray[np.generic]]:
    """Read tensors and check each against its digest.

    Args:
        data: The file's bytes.
        digests: By name, from the manifest.
        names: Those that must be there, and no others.
        file: The file's name.
        field: The manifest's field that holds the digests.

    Raises:
        BundleError: No safetensors, or other tensors than expected.
        SignatureInvalidError: A tensor is not the one that was signed.
    """
    try:
        tensors: dict[str, NDArray[np.generic]] = safetensors_numpy.load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{file}: not safetensors with known types: {error}") from error
    # Both ways: an array without a digest would not be signed, a digest without one not be there.
    for found, where in ((tensors, file), (digests, f"{MANIFEST}: {field}")):
        if set(found) != set(names):
            odd = ", ".join(sorted(set(found) ^ set(names)))
            raise BundleError(f"{where}: missing or unknown: {odd}")
    for name in names:
        expect_digest(name, digests[name], array_sha256(tensors[name]))
    return tensors


def expect_digest(name: str, expected: str, got: str) -> None:
    """Pass if a digest is the one that was signed.

    Raises:
        SignatureInvalidError: It is not.
    """
    if expected != got:
        raise SignatureInvalidError(
            f"{name}: expected SHA-256 {expected}, got {got}; changed after signing"
        )
