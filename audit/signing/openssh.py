"""OpenSSH's key files: ``ssh-keygen -t ed25519``, with or without a passphrase.

The library reads them; here is only which files these are, and what to say where it cannot. The
passphrase of such a key takes bcrypt, which is an extra.
"""

import base64
import binascii
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    SSHPublicKeyTypes,
    load_ssh_private_key,
    load_ssh_public_key,
)

from adapters.extras import require
from audit.errors import AuditError

_ALGORITHM = b"ssh-ed25519"
_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_NO_CIPHER = (4).to_bytes(4, "big") + b"none"


def is_openssh_private_key(data: bytes) -> bool:
    """Return whether a file is a private key of OpenSSH's, of any kind."""
    return data.startswith(_BEGIN)


def is_openssh_public_key(data: bytes) -> bool:
    """Return whether a file is a public key of OpenSSH's, of any kind."""
    return data.startswith((b"ssh-", b"sk-ssh-", b"ecdsa-"))


def load_openssh_private_key(data: bytes, passphrase: str | None) -> Ed25519PrivateKey:
    """Parse a private key file.

    Args:
        data: The file.
        passphrase: Needed if the key is encrypted, unused if not.

    Raises:
        AuditError: No Ed25519 key, a missing or wrong passphrase, or bcrypt is not installed.
    """
    # The library refuses a passphrase that a key does not need.
    is_encrypted = _is_encrypted(data)
    if is_encrypted:
        if not passphrase:
            raise AuditError("passphrase: this key is encrypted, give its passphrase")
        require("bcrypt", by="the passphrase of an OpenSSH key", error=AuditError)
    secret = passphrase.encode() if is_encrypted and passphrase else None
    try:
        key = load_ssh_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if is_encrypted:
            raise AuditError("passphrase: it does not open this key") from error
        raise AuditError("key: expected a private key of OpenSSH's, got a damaged one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError("key: expected an Ed25519 key (ssh-keygen -t ed25519), got another kind")
    return key


def load_openssh_public_key(data: bytes) -> SSHPublicKeyTypes:
    """Parse a public key file: one line, the algorithm, the key and perhaps a comment.

    Raises:
        AuditError: Several lines, or a certificate or key of another kind.
        ValueError: A damaged key.
    """
    lines = data.split(b"\n")
    if any(line.strip() for line in lines[1:]):
        raise AuditError("key: expected one public key, got several lines; give each its own file")
    if lines[0].split(b" ")[0] != _ALGORITHM:
        raise AuditError("key: expected an ssh-ed25519 key, got another kind")
    return load_ssh_public_key(lines[0])


def openssh_fingerprint(raw: bytes) -> str:
    """Return what ``ssh-keygen -l`` shows of a public key.

    Args:
        raw: The key's 32 bytes.
    """
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (_ALGORITHM, raw))
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _is_encrypted(data: bytes) -> bool:
    body = data.split(_END)[0].removeprefix(_BEGIN)
    try:
        blob = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise AuditError("key: expected a private key of OpenSSH's, got a damaged one") from error
    return not blob.removeprefix(_MAGIC).startswith(_NO_CIPHER)
