"""Read a suspect's files once, into a private folder.

Everything that is audited is read from that copy, so what was hashed is what answers, whatever
happens to the original in the meantime. Only regular files of the model's own folder are taken:
no links, no devices, nothing above it.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

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


def copy_external(
    location: str, *, source_folder: Path, target_folder: Path, max_bytes: int
) -> FileCopy:
    """Copy one file of external data.

    Args:
        location: Where the model says it lies, relative to its folder.
        source_folder: The model's folder.
        target_folder: The private folder.
        max_bytes: What is left of the limit for external data.

    Raises:
        SuspectError: The file is missing, too large, a link, or has a second name (hard link).
    """
    folder = source_folder.resolve()
    source, target = folder / location, target_folder / location
    field = f"external data {location!r}"
    if not source.is_relative_to(folder) or ".." in Path(location).parts:
        raise SuspectError(f"{field}: expected a file in the model's own folder")
    try:
        # The folder is resolved already: any difference is a link below it.
        if source.resolve(strict=True) != source:
            raise SuspectError(f"{field}: expected a file in the model's own folder, got a link")
        # A link that was put there since then is not followed either.
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
        return _copy(descriptor, target, field=field, name=location, max_bytes=max_bytes)
    except FileExistsError as error:
        raise SuspectError(f"{field}: expected another name than the model's own") from error


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
