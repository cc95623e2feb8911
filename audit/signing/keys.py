"""Keys: Ed25519 pairs, their files, and whom we trust. Private keys are read and written here only.

A key id is SHA-256 in hex of the 32 raw public bytes. Private keys are PEM PKCS#8 files that only
their owner may read, public keys PEM files (RFC 8410); both may also be OpenSSH's
(`audit.signing.openssh`). A private key never leaves this file but to the signer, and no message
shows any of it.
"""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from audit.errors import AuditError, UntrustedKeyError
from audit.signing.canonical import sha256_hex
from audit.signing.openssh import (
    is_openssh_private_key,
    is_openssh_public_key,
    load_openssh_private_key,
    load_openssh_public_key,
)

MAX_KEY_BYTES = 64 * 2**10
"""Largest key file that is read."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """An Ed25519 public key."""

    raw: bytes
    """32 bytes."""

    @property
    def key_id(self) -> str:
        """Return SHA-256 in hex of the raw bytes."""
        return sha256_hex(self.raw)

    @property
    def pem(self) -> bytes:
        """Return the key as a ``.pub`` file holds it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def from_pem(cls, pem: bytes) -> "PublicKey":
        """Parse a ``.pub`` file, OpenSSH's line among them.

        Raises:
            AuditError: Not an Ed25519 public key in PEM or of OpenSSH.
        """
        try:
            key = (
                load_openssh_public_key(pem)
                if is_openssh_public_key(pem)
                else load_pem_public_key(pem)
            )
        except (ValueError, UnsupportedAlgorithm) as error:
            raise AuditError(
                "key: expected an Ed25519 public key in PEM or OpenSSH's format, got none"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise AuditError("key: expected an Ed25519 public key, got one of another kind")
        return cls(raw=key.public_bytes_raw())


class PrivateKey:
    """An Ed25519 private key; shows nothing of itself when printed."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.secret = key
        """The library's key, for the signer."""
        self.public_key = PublicKey(raw=key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Make a new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "PrivateKey":
        """Return the key of 32 secret bytes (RFC 8032, section 5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: str | None) -> "PrivateKey":
        """Parse a private key file, PKCS#8 or OpenSSH's.

        Raises:
            AuditError: Not an Ed25519 private key, the passphrase does not open it, or a library
                is missing that would.
        """
        if is_openssh_private_key(pem):
            return cls(load_openssh_private_key(pem, passphrase))
        # The library refuses a passphrase that a key does not need; PKCS#8 says in its first line
        # which one that is.
        is_encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in pem
        if is_encrypted and not passphrase:
            raise AuditError("passphrase: this key is encrypted, give its passphrase")
        try:
            key = load_pem_private_key(
                pem, passphrase.encode() if is_encrypted and passphrase else None
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if is_encrypted:
                raise AuditError("passphrase: it does not open this key") from error
            raise AuditError("key: expected an Ed25519 private key in PEM, got none") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditError("key: expected an Ed25519 private key, got one of another kind")
        return cls(key)

    def to_pem(self, passphrase: str | None) -> bytes:
        """Return the key as PKCS#8, encrypted if there is a passphrase."""
        protection: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            protection = BestAvailableEncryption(passphrase.encode())
        return self.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The public keys that somebody told us to trust; an empty one trusts nobody."""

    keys: tuple[PublicKey, ...]

    def require(self, key: PublicKey) -> None:
        """Pass if the key is trusted.

        Raises:
            UntrustedKeyError: It is not, or nobody is.
        """
        if key in self.keys:
            return
        others = "1 other is" if len(self.keys) == 1 else f"{len(self.keys)} others are"
        known = others if self.keys else "no key is"
        raise UntrustedKeyError(
            f"signature: right, but its key {key.key_id} is not trusted ({known}); if its holder "
            "gave you this key in a way you rely on, name its file with --trust KEY.pub"
        )


def write_key_pair(path: Path, key: PrivateKey, passphrase: str | None) -> Path:
    """Write a private key (mode 0600) and, beside it, its public key.

    Args:
        path: The private key's file; the public key's ends in ``.pub`` instead of ``.key``.
        key: The pair.
        passphrase: Encrypts the private key; None leaves it readable for whoever gets the file.

    Returns:
        Path of the public key.

    Raises:
        AuditError: One of the two files exists, or cannot be written; neither is left behind.
    """
    public_path = path.with_name(path.name.removesuffix(".key") + ".pub")
    # Asked before anything is written, so that no private key is made only to be removed again.
    if public_path.exists():
        raise AuditError(f"key: {public_path} exists already; keys are never overwritten")
    _write_new(path, key.to_pem(passphrase), 0o600)
    try:
        _write_new(public_path, key.public_key.pem, 0o644)
    except AuditError:
        path.unlink()
        raise
    return public_path


def load_private_key(path: Path, passphrase: str | None = None) -> PrivateKey:
    """Read a private key.

    Args:
        path: PEM file, PKCS#8 or OpenSSH's.
        passphrase: Needed if the key is encrypted, unused if not.

    Raises:
        AuditError: No such file, no Ed25519 private key, a missing or wrong passphrase, or a file
            that others may read.
    """
    try:
        data, mode = _read(path)
        key = PrivateKey.from_pem(data, passphrase)
    except AuditError as error:
        raise AuditError(f"{error} ({path})") from error
    _require_secrecy(path, mode)
    return key


def load_public_key(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        AuditError: No such file, or no Ed25519 public key.
    """
    try:
        return PublicKey.from_pem(_read(path)[0])
    except AuditError as error:
        raise AuditError(f"{error} ({path})") from error


def trusted_folder() -> Path:
    """Return the folder whose ``*.pub`` files this user always trusts; it need not exist."""
    return Path(platformdirs.user_config_dir("kinprint", appauthor=False)) / "trusted"


def load_trust(paths: Iterable[Path], folder: Path | None = None) -> Trust:
    """Collect the trusted keys: those named, and those in the trusted folder.

    Args:
        paths: Public key files that the user named.
        folder: Instead of `trusted_folder`.

    Raises:
        AuditError: One of the files is not a public key; a damaged one is never passed over.
    """
    folder = trusted_folder() if folder is None else folder
    files = [*paths, *sorted(folder.glob("*.pub"))]
    # Each key once: a refusal says how many are trusted.
    return Trust(keys=tuple(dict.fromkeys(load_public_key(file) for file in files)))


def _require_secrecy(path: Path, mode: int) -> None:
    """Refuse a private key that others may read, as ssh does: its signatures prove nothing."""
    if os.name == "posix" and mode & 0o077:
        raise AuditError(
            f"key: others may read {path} (mode {mode:04o}); run chmod 600 "
            f"{shlex.quote(str(path))} and make a new key if others had access"
        )


def _read(path: Path) -> tuple[bytes, int]:
    """Return a file's bytes and its permissions, both of the file that was opened."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise AuditError(f"key: cannot be read: {error.strerror}") from error
    if len(data) > MAX_KEY_BYTES:
        raise AuditError(f"key: expected at most {MAX_KEY_BYTES} bytes, got more")
    return data, mode


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        # O_EXCL follows no link and replaces nothing; the mode holds from the first byte on, with
        # no moment in which others could read.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise AuditError(f"key: {path} exists already; keys are never overwritten") from error
    except OSError as error:
        raise AuditError(f"key: cannot write {path}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            # What a key has signed is in the world at once, so it must survive a crash of the
            # machine.
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise AuditError(f"key: cannot write {path}: {error.strerror}") from error
