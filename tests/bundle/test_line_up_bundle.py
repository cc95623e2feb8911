"""A line-up goes into a bundle and comes out again; what does not fit is never written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.bundle_builder import GOLDEN, OWNER_KEY, OWNER_TRUST
from worlds.line_up_world import LineUpWorld

from audit.bundle.bundle_file import parse_bundle, read_bundle, write_bundle
from audit.bundle.line_up import LineUp, LineUpMember, public_commitment, sibling_seed
from audit.bundle.line_up_consistency import LINE_UP_ARRAY_NAMES
from audit.bundle.zip_layout import LINE_UP, pack, unpack
from audit.errors import BundleError, SignatureInvalidError
from audit.signing.canonical import canonical_bytes, sha256_hex
from audit.signing.envelope import BUNDLE_PREDICATE_TYPE, sign_statement


def written(path: Path, line_up: LineUp | None = None) -> Path:
    bundle = LineUpWorld(num_questions=30).bundle
    write_bundle(path, bundle.manifest, bundle.arrays, OWNER_KEY, line_up or bundle.line_up)
    return path


def resealed(members: dict[str, bytes], manifest: dict[str, Any]) -> bytes:
    """The bundle with another manifest, signed by its owner."""
    data = canonical_bytes(manifest)
    signature = sign_statement(
        "manifest.json", sha256_hex(data), BUNDLE_PREDICATE_TYPE, {}, OWNER_KEY
    )
    return b"".join(pack({**members, "manifest.json": data, "signature.json": signature}))


def test_a_line_up_is_read_as_it_was_written(tmp_path: Path) -> None:
    line_up = LineUpWorld(num_questions=30).line_up
    read = read_bundle(written(tmp_path / "b.kinprint"), OWNER_TRUST).line_up
    assert read is not None
    for name in LINE_UP_ARRAY_NAMES:
        assert np.array_equal(getattr(read.arrays, name), getattr(line_up.arrays, name))
    assert read.record.members == line_up.record.members
    assert read.record.num_siblings == 19
    assert len(read.record.panel) == 20


def test_the_same_line_up_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a.kinprint"), written(tmp_path / "b.kinprint")
    assert one.read_bytes() == other.read_bytes()


def test_a_bundle_without_one_says_nothing_of_it() -> None:
    members = unpack(GOLDEN.read_bytes())
    assert LINE_UP not in members
    assert "line_up" not in json.loads(members["manifest.json"])
    assert parse_bundle(GOLDEN.read_bytes(), OWNER_TRUST).line_up is None


def test_changed_numbers_are_noticed(tmp_path: Path) -> None:
    members = unpack(written(tmp_path / "b.kinprint").read_bytes())
    changed = bytearray(members[LINE_UP])
    changed[-1] ^= 1
    with pytest.raises(SignatureInvalidError, match=r"line-up.safetensors: .* changed after"):
        parse_bundle(b"".join(pack({**members, LINE_UP: bytes(changed)})), OWNER_TRUST)


@pytest.mark.parametrize("missing", [LINE_UP, "manifest.json"])
def test_a_line_up_without_its_other_half_is_refused(tmp_path: Path, missing: str) -> None:
    members = unpack(written(tmp_path / "b.kinprint").read_bytes())
    manifest = json.loads(members["manifest.json"])
    if missing == LINE_UP:
        del members[LINE_UP]
    else:
        del manifest["line_up"]
    with pytest.raises(BundleError, match=r"line_up: .* has one, .* does not"):
        parse_bundle(resealed(members, manifest), OWNER_TRUST)


def test_an_empty_line_up_is_left_out_and_not_null(tmp_path: Path) -> None:
    members = unpack(GOLDEN.read_bytes())
    manifest = {**json.loads(members["manifest.json"]), "line_up": None}
    with pytest.raises(BundleError, match="expected every field to be written out"):
        parse_bundle(resealed(members, manifest), OWNER_TRUST)


def test_a_bundle_may_hold_nothing_but_a_line_up(tmp_path: Path) -> None:
    bundle = LineUpWorld(num_questions=30).bundle
    no_images = bundle.arrays.triggers[:0]
    empty = replace(
        bundle.arrays,
        triggers=no_images,
        carriers=no_images,
        trigger_labels=np.empty(0, np.int64),
        source_trigger_log_probabilities=np.empty((0, 3)),
        probe_alphas=np.empty(0, np.int64),
        probe_ends=np.empty((0, 0, 4, 4, 3), np.uint8),
        source_probe_labels=np.empty((0, 0), np.int64),
        queries=no_images,
        source_query_labels=np.empty(0, np.int64),
        query_groups=np.empty(0, np.int64),
        derived_probabilities=np.empty((0, 3)),
        innocent_probabilities=np.empty((0, 3)),
        selection_rankings=np.empty((0, 0, 0), np.int64),
        model_control_labels=np.empty((0, 10), np.int64),
        model_query_labels=np.empty((0, 0), np.int64),
        model_query_log_probabilities=np.empty((0, 0, 3)),
        model_rankings=np.empty((0, 0, 0), np.int64),
        model_trigger_losses=np.empty((0, 0)),
        model_probe_hits=np.empty((0, 0), np.int64),
    )
    manifest = bundle.manifest.model_copy(
        update={"default_score": "line-up", "probes": None, "models": (), "method": "line-up"}
    )
    path = tmp_path / "b.kinprint"
    write_bundle(path, manifest, empty, OWNER_KEY, bundle.line_up)
    assert read_bundle(path, OWNER_TRUST).manifest.default_score == "line-up"
    with pytest.raises(BundleError, match="nothing to ask"):
        write_bundle(path, manifest, empty, OWNER_KEY)


def _renamed(**changes: object) -> LineUp:
    line_up = LineUpWorld(num_questions=30).line_up
    return LineUp(record=line_up.record.model_copy(update=changes), arrays=line_up.arrays)


def _with(**arrays: object) -> LineUp:
    line_up = LineUpWorld(num_questions=30).line_up
    return LineUp(record=line_up.record, arrays=replace(line_up.arrays, **arrays))  # type: ignore[arg-type]  # wrong on purpose


RECORD, ARRAYS = _renamed().record, _renamed().arrays
COPIED = ARRAYS.member_codes.copy()
COPIED[3] = COPIED[0]
COPIED_CONTROLS = ARRAYS.member_control_codes.copy()
COPIED_CONTROLS[3] = COPIED_CONTROLS[0] ^ 1  # rounded otherwise, as a copy in half precision is


@pytest.mark.parametrize(
    ("line_up", "message"),
    [
        (_renamed(source=20), "line_up.source: expected a place among 20 members, got 20"),
        (
            _renamed(
                members=(
                    *RECORD.members[:19],
                    LineUpMember(
                        name="again", weights_sha256="a" * 64, seed=RECORD.members[3].seed
                    ),
                )
            ),
            "member-3 and again have the same seed",
        ),
        (
            _renamed(
                members=(
                    *RECORD.members[:19],
                    RECORD.members[0].model_copy(update={"name": "again", "seed": None}),
                )
            ),
            "member-0 and again have the same weights",
        ),
        (
            _with(member_codes=COPIED, member_control_codes=COPIED_CONTROLS),
            "member-3 answers exactly like member-0; it is a copy",
        ),
        (
            _renamed(
                models=(
                    RECORD.models[0].model_copy(
                        update={"weights_sha256": RECORD.members[2].weights_sha256}
                    ),
                    *RECORD.models[1:],
                )
            ),
            "innocent-0 of the panel is member-2 of the line-up",
        ),
        (_renamed(models=RECORD.models[::-1]), "expected the innocents before the derived"),
        (
            _renamed(
                models=tuple(model.model_copy(update={"lineage": "one"}) for model in RECORD.models)
            ),
            "expected innocents of at least two lineages",
        ),
        (_with(questions=ARRAYS.questions[:0]), r"line_up.member_codes: .* L = 0"),
        (_with(model_labels=ARRAYS.model_labels + 2), "line_up.model_labels: expected classes 0"),
        (_with(member_codes=ARRAYS.member_codes[:-1]), r"line_up.member_codes: .* T = 20"),
        (
            _with(member_control_codes=ARRAYS.member_control_codes[:, :-1]),
            r"line_up.member_control_codes: .* C = 10",
        ),
        (
            _with(model_codes=ARRAYS.model_codes.astype(np.int64)),
            "line_up.model_codes: expected uint8, got int64",
        ),
        (_with(questions=ARRAYS.questions[:, 0]), r"line_up.questions: expected shape \[L"),
    ],
)
def test_a_line_up_that_does_not_fit_is_not_written(
    line_up: LineUp, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=message):
        written(tmp_path / "b.kinprint", line_up)
    assert not list(tmp_path.iterdir())


def with_public_seeds(*, first: int = 1, commitment: str | None = None) -> LineUp:
    public = public_commitment(
        "pulse 1234",
        source_sha256=RECORD.members[0].weights_sha256,
        made_by=RECORD.made_by,
        made_how=RECORD.made_how,
    )
    source, *siblings = RECORD.members
    return _renamed(
        seed_from="pulse 1234",
        seed_commitment=commitment or public,
        members=(
            source,
            *(
                one.model_copy(update={"seed": sibling_seed(public, number)})
                for number, one in enumerate(siblings, start=first)
            ),
        ),
    )


def test_siblings_may_have_seeds_that_nobody_chose(tmp_path: Path) -> None:
    found = read_bundle(written(tmp_path / "b.kinprint", with_public_seeds()), OWNER_TRUST).line_up
    assert found is not None
    assert found.record.seed_from == "pulse 1234"
    # docs/bundle-format.md: SHA-256 of the words, the recipe by its digest
    recipe = canonical_bytes(
        {
            "source_sha256": RECORD.members[0].weights_sha256,
            "made_by": "command",
            "made_how": RECORD.made_how,
        }
    )
    words = f"kinprint-line-up-v1 {sha256_hex(recipe)} pulse 1234"
    assert found.record.seed_commitment == sha256_hex(words.encode())


def test_seeds_that_were_chosen_all_the_same_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.kinprint"
    with pytest.raises(BundleError, match="expected siblings with the seeds that follow"):
        written(path, with_public_seeds(first=2))
    with pytest.raises(BundleError, match=r"line_up.seed_commitment: expected .* from seed_from"):
        written(path, with_public_seeds(commitment="ab" * 32))


def test_seeds_follow_from_the_commitment() -> None:
    seeds = {sibling_seed("ab" * 32, number) for number in range(1, 20)}
    assert len(seeds) == 19
    assert all(0 <= seed < 2**31 for seed in seeds)
    # docs/bundle-format.md: SHA-256 of the words, its first four bytes less their last bit
    digest = sha256_hex(b"kinprint-sibling-v1 " + b"ab" * 32 + b" 1")
    assert sibling_seed("ab" * 32, 1) == int(digest[:8], 16) // 2
