"""The few calls that a script needs; nothing inside Kinprint imports them from here."""

from collections.abc import Iterable
from pathlib import Path

from audit.asking.run import audit_suspect
from audit.bundle.bundle_file import read_bundle
from audit.bundle.manifest import BundleContents
from audit.signing.keys import load_trust
from audit.suspects.opening import open_described, open_file, open_remote

__all__ = ["audit_suspect", "open_bundle", "open_described", "open_file", "open_remote"]


def open_bundle(path: str | Path, *, trust: Iterable[str | Path] = ()) -> BundleContents:
    """Read a bundle and check its signature.

    Args:
        path: A ``.kinprint`` file.
        trust: Public key files that may have signed it, besides those in the trust folder.

    Raises:
        BundleError: It is no bundle.
        SignatureInvalidError: Its bytes are not those that were signed.
        UntrustedKeyError: It is signed by a key that nobody told us to trust.
    """
    return read_bundle(Path(path), load_trust([Path(key) for key in trust]))
