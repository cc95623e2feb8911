"""Merkle trees: one digest for many, and a short proof that one of the many is among them.

As RFC 9162 (section 2.1) has them with SHA-256, so that any transparency log's tools can check a
proof.
"""

import hashlib
from collections.abc import Sequence


def node_bytes(left: bytes, right: bytes) -> bytes:
    """Return what the digest of an inner node is taken over."""
    return b"\x01" + left + right


def leaf_hash(entry: bytes) -> bytes:
    """Return the digest of an entry; no inner node can be taken for one."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root_of(entries: Sequence[bytes]) -> bytes:
    """Return the root over entries, at least one.

    Example:
        >>> root_of([b"a"]) == leaf_hash(b"a")
        True
    """
    if len(entries) == 1:
        return leaf_hash(entries[0])
    return hashlib.sha256(root_bytes(entries)).digest()


def root_bytes(entries: Sequence[bytes]) -> bytes:
    """Return what the root over entries is the digest of, at least two: what is timestamped."""
    split = _split(len(entries))
    return node_bytes(root_of(entries[:split]), root_of(entries[split:]))


def inclusion_path(entries: Sequence[bytes], index: int) -> list[bytes]:
    """Return the digests that lead from an entry to the root, the nearest first."""
    if len(entries) == 1:
        return []
    split = _split(len(entries))
    left, right = entries[:split], entries[split:]
    if index < split:
        return [*inclusion_path(left, index), root_of(right)]
    return [*inclusion_path(right, index - split), root_of(left)]


def root_by_path(entry: bytes, index: int, num_entries: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to.

    Args:
        entry: Whose path it is.
        index: Its place, 0 to ``num_entries`` - 1.
        num_entries: Of the tree.
        path: From `inclusion_path`, or from somebody who claims so.

    Returns:
        The root; None where no tree of this size has such a path.
    """
    if not 0 <= index < num_entries:
        return None
    if num_entries == 1:
        return leaf_hash(entry) if not path else None
    if not path:
        return None
    split = _split(num_entries)
    is_left = index < split
    inner = root_by_path(
        entry,
        index if is_left else index - split,
        split if is_left else num_entries - split,
        path[:-1],
    )
    if inner is None:
        return None
    pair = (inner, path[-1]) if is_left else (path[-1], inner)
    return hashlib.sha256(node_bytes(*pair)).digest()


def _split(num: int) -> int:
    """Return the largest power of two below a number above 1."""
    return 1 << (num - 1).bit_length() - 1
