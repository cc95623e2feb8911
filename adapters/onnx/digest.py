"""Tell whether two ONNX files are the same model, without parsing either.

Parsing a stranger's file is for the suspect's own process; whoever sorts thousands of them only
reads bytes. Exporters write large weights beside the file and name that file inside, so that two
different models may have the same ``.onnx``. Such names are looked for as the bytes in which
protobuf writes them (ONNX IR, ``TensorProto.external_data``). Where a file speaks of a location and
none can be made out, it counts as a model of its own: a copy too many is asked, never one too few.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from adapters.onnx.private_copy import external_file
from adapters.suspect import SuspectConfigError, SuspectError

_CHUNK_BYTES = 1 << 20
_MAX_ENTRY_BYTES = 4096
"""Longest entry that is made out, bytes; no file system has longer names."""
_KEY = b"location"
_MAX_LOCATIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class OnnxDigest:
    """What a file is made of."""

    sha256: str
    """Of the ONNX file alone, hex; what an audit calls the suspect's digest."""
    key: str
    """Equal for equal models: of the file and of what it keeps beside it, hex."""
    beside: tuple[str, ...] = ()
    """Files that it keeps beside it, relative to its folder."""


@dataclass(kw_only=True)
class _Locations:
    """Names of files that a model's bytes seem to speak of."""

    num_keys: int = 0
    """How often the word for a location stands there."""
    num_read: int = 0
    """How often a name could be made out behind it."""
    names: set[bytes] = field(default_factory=set)

    def look_through(self, data: bytes, start: int, end: int) -> None:
        """Look at the words that begin in ``data[start:end]``."""
        position = data.find(_KEY, start)
        while 0 <= position < end:
            self.num_keys += 1
            name = _name_at(data, position)
            if name is not None and len(self.names) < _MAX_LOCATIONS:
                self.num_read += 1
                self.names.add(name)
            position = data.find(_KEY, position + len(_KEY))


def digest_onnx(path: Path, named_folder: Path | None = None) -> OnnxDigest:
    """Hash a model and the files that it names.

    Args:
        path: The ONNX file.
        named_folder: Folder that the user named, where the file was found in one.

    Raises:
        SuspectConfigError: It cannot be read, or is no file.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SuspectConfigError(f"onnx: expected a file, got a device or pipe: {path}")
            sha256, locations = _read(file)
    except OSError as error:
        raise SuspectConfigError(f"onnx: cannot read {path}: {error.strerror}") from error
    if not locations.num_keys:
        return OnnxDigest(sha256=sha256, key=sha256)
    parts, found = [sha256], []
    for name in sorted(locations.names):
        beside = _digest_beside(path, name, named_folder)
        if beside is not None:
            found.append(os.fsdecode(name))
            parts.append(f"{name!r} {beside}")
    # It speaks of files that could not be made out: by its own path it is equal to no other.
    if len(parts) == 1 or locations.num_read < locations.num_keys:
        parts.append(str(path.absolute()))
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return OnnxDigest(sha256=sha256, key=key, beside=tuple(found))


def _read(file: BinaryIO) -> tuple[str, _Locations]:
    digest, locations = hashlib.sha256(), _Locations()
    data, start = b"", 0
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
        data += chunk
        end = len(data) - _MAX_ENTRY_BYTES  # what begins later may go on in the next chunk
        locations.look_through(data, start, end)
        kept = max(0, end - 2)  # two bytes stand before the word
        data, start = data[kept:], max(start, end) - kept
    locations.look_through(data, start, len(data))
    return digest.hexdigest(), locations


def _name_at(data: bytes, position: int) -> bytes | None:
    """Return the name behind the word: field 1 ``location``, field 2 with its length, the name."""
    after = position + len(_KEY)
    # 0x0a 0x08 begins field 1 of eight bytes, which "location" has; 0x12 begins field 2.
    if data[max(0, position - 2) : position] != b"\n\x08" or data[after : after + 1] != b"\x12":
        return None
    length, shift, place = 0, 0, after + 1
    # Three bytes hold 21 bits, more than the length of any name.
    while place < len(data) and shift <= 14:
        byte = data[place]
        length |= (byte & 0x7F) << shift  # a varint: seven bits a byte, the lowest first
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            name = data[place : place + length]
            return name if 0 < length == len(name) < _MAX_ENTRY_BYTES - 16 else None
    return None


def _digest_beside(model: Path, name: bytes, named_folder: Path | None) -> str | None:
    """Return the SHA-256 of a file beside a model or below it, None if there is none."""
    try:
        # A stranger's file may name any path; nothing is read for it that an audit would not read.
        path = external_file(model, os.fsdecode(name), named_folder)
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, SuspectError):
        return None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe has nobody at its end
