"""Read a suspect's files once, into a private folder.

Everything that is audited is read from that copy, so what was hashed is what answers, whatever
happens to the original in the meantime. Only regular files are taken, no devices; links only where
they end in the model's own folder, in one that the user named, or in the download cache that the
model belongs to (Hugging Face keeps files as links into a folder of blobs).
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from adapters.onnx.process.other_files import stand_in
from adapters.suspect import SuspectConfigError, SuspectError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FileCopy:
    """A private copy and what it was made of."""

    path: Path
    sha256: str
    """SHA-256 of the copied bytes, hex."""
    num_bytes: int


def copy_model(source: Path, target: Path, *, max_bytes: int) -> FileCopy:
    """Copy the ONNX file; links to it are followed, the auditor named it.

    Raises:
        SuspectConfigError: There is no such file, it is empty, too large or no regular file.
    """
    try:
        descriptor = os.open(source, _READ_FLAGS)
    except OSError as error:
        raise SuspectConfigError(f"onnx: cannot read {source}: {error.strerror}") from error
    copy = _copy(descriptor, target, field="onnx", name=str(source), max_bytes=max_bytes)
    if copy.num_bytes == 0:
        raise SuspectConfigError(f"onnx: expected an ONNX model, got the empty file {source}")
    return copy


def external_file(model: Path, location: str, named_folder: Path | None = None) -> Path:
    """Return where a file of external data lies, all links followed.

    Args:
        model: The ONNX file as the user named it, perhaps a link.
        location: Where the model says it lies, relative to its folder.
        named_folder: Folder that the user named, where it was found in one.

    Raises:
        SuspectError: It is not there, or a link leads out of where it may.
    """
    field = f"external data {location!r}"
    if Path(location).is_absolute() or ".." in Path(location).parts:
        raise SuspectError(f"{field}: expected a file in the model's own folder")
    # Beside the file that was named first; beside what it links to only then.
    for folder in dict.fromkeys((model.absolute().parent, model.resolve().parent)):
        found = folder / location
        if not os.path.lexists(found):
            continue
        try:
            target = found.resolve(strict=True)
        except OSError as error:
            raise SuspectError(
                f"{field}: expected a file beside the model, got a link that leads nowhere "
                f"({error.strerror})"
            ) from error
        if any(target.is_relative_to(root) for root in _roots(folder, named_folder)):
            return target
        raise SuspectError(
            f"{field}: expected a file in the model's own folder, got a link to another place "
            f"({target}); copy the model with what it links to (cp -RL)"
        )
    raise SuspectError(f"{field}: cannot be read beside the model: there is no such file")


def _roots(folder: Path, named_folder: Path | None) -> list[Path]:
    """Return the folders in which a link may end."""
    roots = [folder.resolve()]
    if named_folder is not None and folder.is_relative_to(named_folder.absolute()):
        roots.append(named_folder.resolve())
    for parent in folder.parents:
        # MODEL/snapshots/REVISION/... beside MODEL/blobs, as huggingface_hub lays them out.
        blobs = parent.parent / "blobs"
        if parent.name == "snapshots" and blobs.is_dir() and not blobs.is_symlink():
            roots.append(blobs.resolve())
    return roots


def copy_external(
    location: str,
    *,
    model: Path,
    target_folder: Path,
    max_bytes: int,
    named_folder: Path | None = None,
) -> FileCopy:
    """Copy one file of external data.

    Args:
        location: Where the model says it lies, relative to its folder.
        model: The ONNX file as the user named it.
        target_folder: The private folder.
        max_bytes: What is left of the limit for external data.
        named_folder: Folder that the user named, where it was found in one.

    Raises:
        SuspectError: The file is missing, too large, a link to another place, has a second name
            (hard link), or is what a download left in its place.
    """
    field, target = f"external data {location!r}", target_folder / location
    source = external_file(model, location, named_folder)
    try:
        # A link that was put there since then is not followed.
        descriptor = os.open(source, _READ_FLAGS | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise SuspectError(f"{field}: cannot be read beside the model: {error.strerror}") from error
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise SuspectError(
            f"{field}: expected a file with one name, got a hard link, which may point outside "
            "the model's folder; copy the model into a folder of its own"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = _copy(descriptor, target, field=field, name=location, max_bytes=max_bytes)
    except FileExistsError as error:
        raise SuspectError(f"{field}: expected another name than the model's own") from error
    with target.open("rb") as copied:
        found = stand_in(copied.read(256))
    if found is not None:
        raise SuspectError(f"{field}: expected weights, got {found}")
    return copy


_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its writer
)


def _copy(descriptor: int, target: Path, *, field: str, name: str, max_bytes: int) -> FileCopy:
    """Copy an open file, hashing on the way; closes the descriptor."""
    digest = hashlib.sha256()
    num_bytes = 0
    # Of the open file and not of its name, which may lead elsewhere by now.
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(before.st_mode) else "a device or pipe"
        raise SuspectConfigError(f"{field}: expected a file, got {kind}: {name}")
    with os.fdopen(descriptor, "rb", buffering=0) as source:
        if before.st_size > max_bytes:
            raise SuspectConfigError(
                f"{field}: expected at most {max_bytes:,} bytes, got {before.st_size:,}: {name}"
            )
        # x: the model's own name, or one location twice, is an error and replaces nothing.
        with target.open("xb") as copy:
            while chunk := source.read(CHUNK_BYTES):
                num_bytes += len(chunk)
                # Its size was looked at, but a file may grow while it is read.
                if num_bytes > max_bytes:
                    raise SuspectConfigError(f"{field}: grew past {max_bytes:,} bytes: {name}")
                digest.update(chunk)
                copy.write(chunk)
        after = os.fstat(source.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SuspectError(f"{field}: changed while it was read; try again: {name}")
    return FileCopy(path=target, sha256=digest.hexdigest(), num_bytes=num_bytes)
