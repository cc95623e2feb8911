"""A sketch of weights goes into a bundle and comes out again; what does not fit is not written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import known_bundle
from worlds.bundle_builder import GOLDEN, OWNER_KEY, OWNER_TRUST
from worlds.weights.networks import drawn, near
from worlds.weights.sketched_bundle import sketched

from audit.bundle.bundle_file import parse_bundle, read_bundle, write_bundle
from audit.bundle.weights import Weights
from audit.bundle.zip_layout import WEIGHTS, pack, unpack
from audit.errors import BundleError, SignatureInvalidError


def written(path: Path, weights: Weights) -> Path:
    bundle = known_bundle()
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, weights=weights)
    return path


@pytest.mark.parametrize("has_ancestor", [False, True])
def test_a_sketch_is_read_as_it_was_written(tmp_path: Path, has_ancestor: bool) -> None:
    ancestor = near(drawn(1), 0.9) if has_ancestor else None
    weights = sketched(drawn(1), ancestor=ancestor)
    read = read_bundle(written(tmp_path / "b.kinprint", weights), OWNER_TRUST).weights
    assert read is not None
    assert np.array_equal(read.arrays.numbers, weights.arrays.numbers)
    assert np.array_equal(read.arrays.ancestral, weights.arrays.ancestral)
    assert read.record.models == weights.record.models
    assert read.sketch.heads == weights.sketch.heads
    assert read.sketch.seed == weights.sketch.seed


def test_a_bundle_without_one_says_nothing_of_it() -> None:
    members = unpack(GOLDEN.read_bytes())
    assert WEIGHTS not in members
    assert "weights" not in json.loads(members["manifest.json"])
    assert parse_bundle(GOLDEN.read_bytes(), OWNER_TRUST).weights is None


def test_changed_numbers_are_noticed(tmp_path: Path) -> None:
    members = unpack(written(tmp_path / "b.kinprint", sketched(drawn(1))).read_bytes())
    changed = bytearray(members[WEIGHTS])
    changed[-1] ^= 1
    data = b"".join(pack({**members, WEIGHTS: bytes(changed)}))
    with pytest.raises(SignatureInvalidError, match=r"weights\.safetensors: expected SHA-256"):
        parse_bundle(data, OWNER_TRUST)


def test_a_sketch_that_was_taken_out_is_noticed(tmp_path: Path) -> None:
    members = unpack(written(tmp_path / "b.kinprint", sketched(drawn(1))).read_bytes())
    del members[WEIGHTS]
    with pytest.raises(BundleError, match=r"weights: manifest\.json has one, weights.* does not"):
        parse_bundle(b"".join(pack(members)), OWNER_TRUST)


def test_a_sketch_without_its_record_is_noticed(tmp_path: Path) -> None:
    whole = unpack(written(tmp_path / "b.kinprint", sketched(drawn(1))).read_bytes())
    bundle = known_bundle()
    write_bundle(tmp_path / "plain.kinprint", bundle.manifest, bundle.arrays, OWNER_KEY)
    members = {**unpack((tmp_path / "plain.kinprint").read_bytes()), WEIGHTS: whole[WEIGHTS]}
    with pytest.raises(BundleError, match=r"weights: weights.* has one, manifest\.json does not"):
        parse_bundle(b"".join(pack(members)), OWNER_TRUST)


def refused(weights: Weights, tmp_path: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        written(tmp_path / "b.kinprint", weights)
    assert not (tmp_path / "b.kinprint").exists()


def test_numbers_that_do_not_fit_the_layers_are_refused(tmp_path: Path) -> None:
    weights = sketched(drawn(1))
    # 16 x 13 + 24 x 36 + 32 x 12 + 3 x 16 numbers
    size = 208 + 864 + 384 + 48
    short = replace(weights.arrays, numbers=weights.arrays.numbers[1:])
    refused(
        replace(weights, arrays=short),
        tmp_path,
        rf"weights\.numbers: expected int8 \[{size}\], got",
    )
    wide = replace(weights.arrays, numbers=weights.arrays.numbers.astype(np.float16))
    refused(replace(weights, arrays=wide), tmp_path, "got float16")
    doubled = replace(weights.arrays, ancestral=np.zeros(size, np.float16))
    refused(
        replace(weights, arrays=doubled), tmp_path, r"weights\.ancestral: expected float16 \[0\]"
    )


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    weights = sketched(drawn(1), ancestor=drawn(2))
    numbers = weights.arrays.numbers.copy()
    numbers[0] = np.nan
    changed = replace(weights, arrays=replace(weights.arrays, numbers=numbers))
    refused(changed, tmp_path, r"weights\.numbers: expected finite numbers")


def test_a_layer_before_that_comes_later_is_refused(tmp_path: Path) -> None:
    weights = sketched(drawn(1))
    first, *others = weights.record.layers
    layers = (first.model_copy(update={"before": 2}), *others)
    changed = replace(weights, record=weights.record.model_copy(update={"layers": layers}))
    refused(changed, tmp_path, "before: expected an earlier layer's place or -1, got 2")


def test_models_stand_innocents_first(tmp_path: Path) -> None:
    weights = sketched(drawn(1))
    models = tuple(reversed(weights.record.models))
    changed = replace(weights, record=weights.record.model_copy(update={"models": models}))
    refused(changed, tmp_path, "weights.models: expected the innocents before the derived models")
