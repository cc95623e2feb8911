"""A manifest decides nothing by its owner's word alone: dates, settings, models, single images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import NUM_QUERIES, known_bundle
from worlds.bundle_builder import (
    OWNER_KEY,
    OWNER_TRUST,
    golden_manifest,
    resigned,
    small_arrays,
    small_manifest,
)

from audit.bundle.bundle_file import parse_bundle, write_bundle
from audit.bundle.manifest import Arrays
from audit.bundle.picture_shares import picture_shares
from audit.errors import BundleError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 1e-12}, "epsilon: Input should be greater than or equal to 0.01"),
        ({"epsilon": 0.9}, "epsilon: Input should be less than or equal to 0.5"),
        ({"tau": 0.99}, "tau: Input should be less than or equal to 0.95"),
        ({"alpha": 0.9}, "alpha: Input should be less than or equal to 0.2"),
        ({"beta": 0.9}, "beta: Input should be less than or equal to 0.2"),
        ({"min_control_agreement": 0.0}, "min_control_agreement: .* than or equal to 0.5"),
        ({"created": "2099-01-01T00:00:00Z"}, "created: expected a time that has been, got 2099"),
        ({"created": "9999-99-99T99:99:99Z"}, "created: expected a time that exists, got 9999"),
        ({"crafting": {"epsilon": 0.2}}, "crafting.epsilon: expected 0.05, which is what decides"),
        ({"crafting": {"alpha": 0.01}}, "crafting.alpha: expected 0.05, which is what decides"),
        ({"crafting": {"trigger_radius": 255}}, "crafting.trigger_radius: .* at most 32 .*got 255"),
        ({"crafting": {"query_radius": 0}}, "crafting.query_radius: .* above 0"),
        ({"crafting": {"query_radius": "8"}}, "crafting.query_radius: .* got '8'"),
    ],
)
def test_a_signed_setting_beyond_its_bounds_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        parse_bundle(resigned(golden_manifest(**changes)), OWNER_TRUST)


def test_a_setting_that_is_said_twice_may_stand_if_it_is_the_same() -> None:
    data = resigned(golden_manifest(crafting={"epsilon": 0.05, "trigger_radius": 8}))
    assert parse_bundle(data, OWNER_TRUST).manifest.epsilon == 0.05


@pytest.mark.parametrize("role", ["innocent", "derived"])
def test_thresholds_need_models_on_both_sides(tmp_path: Path, role: str) -> None:
    models = tuple(
        model.model_copy(update={"role": role}) if model.use == "calibration" else model
        for model in small_manifest().models
    )
    manifest = small_manifest().model_copy(update={"models": models})
    with pytest.raises(BundleError, match=f"expected innocent and derived .* got {role}"):
        write_bundle(tmp_path / "b.kinprint", manifest, small_arrays(), OWNER_KEY)


def _one_answer_twice() -> Arrays:
    arrays, rows = small_arrays(), [0, 1, 1]
    return replace(
        arrays,
        **{
            name: getattr(arrays, name)[rows]
            for name in (
                "model_control_labels",
                "model_query_labels",
                "model_query_log_probabilities",
                "model_rankings",
                "model_trigger_losses",
                "model_probe_hits",
            )
        },
    )


def test_one_innocent_under_two_digests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'other-1' and 'sibling' give all the same answers"):
        write_bundle(tmp_path / "b.kinprint", small_manifest(), _one_answer_twice(), OWNER_KEY)


def test_one_innocent_in_two_files_may_be_one_lineage(tmp_path: Path) -> None:
    models = tuple(
        model.model_copy(update={"lineage": "net"})
        if model.role == "innocent" and model.use == "calibration"
        else model
        for model in small_manifest().models
    )
    manifest = small_manifest().model_copy(update={"models": models})
    write_bundle(tmp_path / "b.kinprint", manifest, _one_answer_twice(), OWNER_KEY)


def _pictures(num_same: int) -> NDArray[np.uint8]:
    """Forty images of which some are one, but for noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(40, 216, (NUM_QUERIES, 16, 16, 3))
    images[:num_same] = images[0] + rng.integers(-4, 5, (num_same, 16, 16, 3))
    return images.astype(np.uint8)


@pytest.mark.parametrize("num_same", [1, 11, NUM_QUERIES])
def test_queries_that_show_one_picture_count_together(num_same: int) -> None:
    known = known_bundle()
    arrays = replace(known.arrays, queries=_pictures(num_same), controls=_pictures(1)[:10])
    shares = picture_shares(known.manifest, arrays)
    # Every query sets derived models apart by the same, so that a picture's share is a count.
    np.testing.assert_allclose(shares[:num_same], num_same / NUM_QUERIES)
    np.testing.assert_allclose(shares[num_same:], 1 / NUM_QUERIES)


def test_a_query_that_all_answer_alike_carries_nothing() -> None:
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[:, 1:] = 1  # derived models give the innocents' answer to all but one
    arrays = replace(known.arrays, queries=_pictures(1), model_query_labels=labels)
    shares = picture_shares(known.manifest, arrays)
    assert (shares[0], shares[1:].max()) == (1.0, 0.0)


def test_a_bundle_in_which_one_image_decides_is_refused(tmp_path: Path) -> None:
    labels = small_arrays().model_query_labels.copy()
    labels[0, 1:] = labels[1, 1:]  # the derived model differs from innocents on one query
    arrays = replace(small_arrays(), model_query_labels=labels)
    with pytest.raises(
        BundleError, match=r"expected no picture to carry more than 50% .*not decide"
    ):
        write_bundle(tmp_path / "b.kinprint", small_manifest(), arrays, OWNER_KEY)
