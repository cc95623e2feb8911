"""Merkle trees: roots and paths of RFC 9162, by hand."""

import hashlib

import pytest

from audit.signing.merkle import (
    inclusion_path,
    leaf_hash,
    root_by_path,
    root_bytes,
    root_of,
)

ENTRIES = [f"pack {number}".encode() for number in range(7)]


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_a_tree_of_seven_is_built_as_the_rfc_draws_it() -> None:
    # RFC 9162, section 2.1.5: d6 stands alone beside the pair of d4 and d5.
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in ENTRIES]
    a, b, c, d, e, f, j = leaves
    g, h, i = node(a, b), node(c, d), node(e, f)
    k, m = node(g, h), node(i, j)
    assert root_of(ENTRIES) == node(k, m)
    assert hashlib.sha256(root_bytes(ENTRIES)).digest() == node(k, m)
    assert inclusion_path(ENTRIES, 0) == [b, h, m]
    assert inclusion_path(ENTRIES, 3) == [c, g, m]
    assert inclusion_path(ENTRIES, 4) == [f, j, k]
    assert inclusion_path(ENTRIES, 6) == [i, k]


@pytest.mark.parametrize("num", range(1, 20))
def test_every_entry_of_every_tree_leads_to_its_root_and_no_other_does(num: int) -> None:
    entries = [f"entry {number}".encode() for number in range(num)]
    root = root_of(entries)
    for index, entry in enumerate(entries):
        path = inclusion_path(entries, index)
        assert root_by_path(entry, index, num, path) == root
        assert root_by_path(b"another", index, num, path) != root
        assert root_by_path(entry, (index + 1) % num, num, path) != root or num == 1
        assert root_by_path(entry, index, num, [*path, leaf_hash(b"x")]) != root
        assert root_by_path(entry, index, num, path[:-1]) != root or not path


@pytest.mark.parametrize(("index", "num"), [(-1, 2), (2, 2), (0, 0)])
def test_a_place_outside_the_tree_has_no_root(index: int, num: int) -> None:
    assert root_by_path(b"a", index, num, []) is None


def test_an_inner_node_is_no_entry() -> None:
    forged = leaf_hash(ENTRIES[0]) + leaf_hash(ENTRIES[1])
    assert root_of([forged]) != root_of(ENTRIES[:2])
