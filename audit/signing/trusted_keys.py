"""The keys that a user always trusts: files in a folder, added, listed and taken out."""

from dataclasses import dataclass
from pathlib import Path

from adapters.printable import printable
from audit.atomic_file import write_atomically
from audit.errors import AuditError
from audit.signing.keys import PublicKey, load_public_key, trusted_folder


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A key and the file that holds it."""

    path: Path
    key: PublicKey


def trusted_keys(folder: Path | None = None) -> list[TrustedKey]:
    """Return all of them, by name of their files.

    Args:
        folder: Instead of `audit.signing.keys.trusted_folder`.

    Raises:
        AuditError: A file is no public key.
    """
    place = folder or trusted_folder()
    return [
        TrustedKey(path=path, key=load_public_key(path)) for path in sorted(place.glob("*.pub"))
    ]


def trust_key(path: Path, name: str | None = None, folder: Path | None = None) -> TrustedKey:
    """Trust a key from now on.

    Args:
        path: Its file; a copy is kept.
        name: What the copy is called; by default as the file.
        folder: See `trusted_keys`.

    Returns:
        The kept copy, which may be one that was there.

    Raises:
        AuditError: No public key, or another key has that name.
    """
    key = load_public_key(path)
    for known in trusted_keys(folder):
        if known.key == key:
            return known
    place = folder or trusted_folder()
    wanted = name or path.stem
    if not wanted or wanted != Path(wanted).name or printable(wanted) != wanted or wanted[0] == ".":
        raise AuditError(
            f"name: expected the name of a file, got {printable(wanted)!r}; give another --name"
        )
    target = place / f"{wanted}.pub"
    if target.exists():
        raise AuditError(
            f"name: {wanted!r} is trusted already, with another key; give this one another --name, "
            "or remove that one"
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(target, [key.pem])
    except OSError as error:
        raise AuditError(f"trust: cannot write {target}: {error.strerror}") from error
    return TrustedKey(path=target, key=key)


def distrust_key(wanted: str, folder: Path | None = None) -> TrustedKey:
    """Trust a key no more.

    Args:
        wanted: Its name, or the beginning of its id (8 digits at least).
        folder: See `trusted_keys`.

    Raises:
        AuditError: None or several are meant, or the file cannot be removed.
    """
    known = trusted_keys(folder)
    found = [one for one in known if one.path.stem == wanted]
    if not found and len(wanted) >= 8:
        found = [one for one in known if one.key.key_id.startswith(wanted.lower())]
    if len(found) != 1:
        told = "none" if not found else f"{len(found)} of them"
        raise AuditError(
            f"key: expected the name of a trusted key or the beginning of its id, got "
            f"{printable(wanted)!r}, which is {told}; 'kinprint trust list' shows all"
        )
    try:
        found[0].path.unlink()
    except OSError as error:
        raise AuditError(f"trust: cannot remove {found[0].path}: {error.strerror}") from error
    return found[0]
