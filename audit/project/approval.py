"""Which project files count: those that their user looked at and approved, as they were then.

A file that lies in a folder may have come with it, in a clone or an archive. It could name keys to
trust, a journal full of answers that nobody gave, a key to sign with. So it counts for nothing
until ``kinprint config allow``, and again for nothing once a byte of it, or of a key that it
trusts, is another. Approvals lie in the user's own folder, where no project writes.
"""

import hashlib
import tomllib
from pathlib import Path

import platformdirs

from adapters.printable import printable
from audit.atomic_file import write_atomically
from audit.errors import AuditError

PROJECT_FILE = "kinprint.toml"
_MAX_BYTES = 64 * 2**10


def config_folder() -> Path:
    """Return the folder of the user's own settings."""
    return Path(platformdirs.user_config_dir("kinprint", appauthor=False))


def find_project(folder: Path) -> Path | None:
    """Return the project file of a folder or of the nearest one above; None if there is none."""
    for place in (folder, *folder.parents):
        path = place / PROJECT_FILE
        try:
            # The user's own file is no project, wherever one stands.
            if path.is_file() and place != config_folder():
                return path
        except OSError:
            continue
    return None


def read_bytes(path: Path) -> bytes:
    """Return what a settings file holds.

    Raises:
        AuditError: It cannot be read, or is too large to be one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise AuditError(f"config: cannot read {printable(str(path))}: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise AuditError(f"config: expected at most {_MAX_BYTES} bytes in {printable(str(path))}")
    return data


def is_approved(path: Path, data: bytes) -> bool:
    """Return whether the user approved this file, and neither it nor its keys changed.

    Args:
        path: Where it lies; a copy of it elsewhere is another one.
        data: Its bytes as they are used.
    """
    try:
        return _approval(path).read_text(encoding="utf-8").split()[0] == _digest(path, data)
    except (OSError, UnicodeDecodeError, IndexError):
        return False


def approve(path: Path, data: bytes) -> None:
    """Let a project file count, as it is now.

    Raises:
        AuditError: The approval cannot be written.
    """
    place = _approval(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, [f"{_digest(path, data)} {path}\n".encode()])
    except OSError as error:
        raise AuditError(f"config: cannot write {place}: {error.strerror}") from error


def disapprove(path: Path) -> bool:
    """Let a project file count no more; say whether it was approved, in whatever state."""
    place = _approval(path)
    was_there = place.is_file()
    place.unlink(missing_ok=True)
    return was_there


def _approval(path: Path) -> Path:
    name = hashlib.sha256(str(path.absolute()).encode(errors="surrogateescape")).hexdigest()
    return config_folder() / "projects" / name[:32]


def _digest(path: Path, data: bytes) -> str:
    """Return SHA-256 in hex of the file and of every key that it names."""
    parts = [hashlib.sha256(data).hexdigest()]
    try:
        keys = tomllib.loads(data.decode()).get("trust", [])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        keys = []
    for key in keys if isinstance(keys, list) else [keys]:
        try:
            held = read_bytes(path.parent / Path(str(key)).expanduser())
            parts.append(hashlib.sha256(held).hexdigest())
        except AuditError:
            parts.append("missing")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
