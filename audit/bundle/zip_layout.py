"""The outer container of a bundle: one ZIP whose every byte follows from its members.

They are three; a line-up and a sketch of weights are one more each.

Any ZIP tool opens it, but only this exact layout is read: stored members in a fixed order, fixed
timestamps and attributes, no comment, no extra field, nothing before, between or after. A reader
therefore knows each byte outside the members before it looks, and refuses every other byte.
Layout: APPNOTE.TXT 6.3.10 (PKWARE), sections 4.3.7, 4.3.12 and 4.3.16.
"""

import struct
import zlib
from collections.abc import Mapping

from audit.errors import BundleError

MANIFEST = "manifest.json"
ARRAYS = "arrays.safetensors"
LINE_UP = "line-up.safetensors"
WEIGHTS = "weights.safetensors"
SIGNATURE = "signature.json"

MAX_MEMBER_BYTES: Mapping[str, int] = {
    MANIFEST: 16 * 2**20,
    ARRAYS: 2**30,
    LINE_UP: 2**30,
    WEIGHTS: 64 * 2**20,
    SIGNATURE: 64 * 2**10,
}
"""Largest size of each member, in the order of the members in the file."""
OPTIONAL = frozenset({LINE_UP, WEIGHTS})
"""The members that may be missing."""

MAX_CONTAINER_BYTES = sum(MAX_MEMBER_BYTES.values()) + 2**10

# 2.0, the least version that this layout needs; made by Unix (3), so that mode bits count.
_VERSION = 20
_MADE_BY = 3 << 8 | _VERSION
# 1980-01-01, the first day that a ZIP can name: year - 1980 in 7 bits, month in 4, day in 5.
_TIME, _DATE = 0, 1 << 5 | 1
_ATTRIBUTES = 0o100644 << 16
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_SIZE_OFFSET = 22


def pack(members: Mapping[str, bytes]) -> list[bytes]:
    """Lay out the container.

    Args:
        members: Bytes of the members by name.

    Returns:
        Pieces whose concatenation is the file.

    Raises:
        BundleError: A member is larger than a reader would accept.
    """
    pieces: list[bytes] = []
    directory = _Directory()
    for name, max_bytes in MAX_MEMBER_BYTES.items():
        if name in OPTIONAL and name not in members:
            continue
        body = members[name]
        if len(body) > max_bytes:
            raise BundleError(_too_large(name, len(body)))
        pieces += [directory.add(name, body), body]
    return [*pieces, directory.closing_bytes()]


def unpack(data: bytes) -> dict[str, bytes]:
    """Take the members out of a container and check every other byte.

    Args:
        data: The whole file.

    Returns:
        Bytes of the members by name.

    Raises:
        BundleError: Cut short, longer than it should be, or any byte differs from the layout.
    """
    if not data.startswith(b"PK\x03\x04"):
        raise BundleError("bundle: expected a Kinprint bundle, got a file of another kind")
    members: dict[str, bytes] = {}
    directory = _Directory()
    position = 0
    for name, max_bytes in MAX_MEMBER_BYTES.items():
        if name in OPTIONAL and not _is_named(data, position, name):
            continue  # whatever else stands here, the next member's header is compared with it
        body_at = position + _LOCAL.size + len(name)
        if len(data) < body_at:
            raise BundleError(_cut_short(name))
        # The only number that is believed before it is checked; what it leads to is compared below.
        (size,) = struct.unpack_from("<I", data, position + _SIZE_OFFSET)
        if size > max_bytes:
            raise BundleError(_too_large(name, size))
        body = data[body_at : body_at + size]
        if len(body) < size:
            raise BundleError(_cut_short(name))
        # The header that a writer would have made, CRC included, must be the one that stands there.
        if data[position:body_at] != directory.add(name, body):
            raise BundleError(_changed(name))
        members[name] = body
        position = body_at + size
    # ZIP tools trust the directory, not the headers: both must tell the same members.
    closing = directory.closing_bytes()
    if len(data) - position < len(closing):
        raise BundleError(_cut_short("the directory"))
    if data[position:] != closing:
        raise BundleError(_changed("the directory"))
    return members


def _is_named(data: bytes, position: int, name: str) -> bool:
    name_at = position + _LOCAL.size
    return data[name_at : name_at + len(name)] == name.encode("ascii")


class _Directory:
    """Collects what the end of a ZIP repeats about its members."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._offset = 0

    def add(self, name: str, body: bytes) -> bytes:
        """Note the next member and return the header that stands before its bytes."""
        # flags, method (stored), time, date, CRC, size as stored, size, name length
        common = (0, 0, _TIME, _DATE, zlib.crc32(body), len(body), len(body), len(name))
        header = _LOCAL.pack(b"PK\x03\x04", _VERSION, *common, 0) + name.encode("ascii")
        self._entries.append(
            # extra, comment, disk, internal attributes: all empty
            _CENTRAL.pack(
                b"PK\x01\x02", _MADE_BY, _VERSION, *common, 0, 0, 0, 0, _ATTRIBUTES, self._offset
            )
            + name.encode("ascii")
        )
        self._offset += len(header) + len(body)
        return header

    def closing_bytes(self) -> bytes:
        """Return the central directory and the end record."""
        entries = b"".join(self._entries)
        num = len(self._entries)
        end = _END.pack(b"PK\x05\x06", 0, 0, num, num, len(entries), self._offset, 0)
        return entries + end


def _cut_short(where: str) -> str:
    return f"bundle: cut short at {where}; get the file again"


def _changed(where: str) -> str:
    return f"bundle: bytes of {where} were changed or added; get the file again from its owner"


def _too_large(name: str, num_bytes: int) -> str:
    return f"{name}: expected at most {MAX_MEMBER_BYTES[name]} bytes, got {num_bytes}"
