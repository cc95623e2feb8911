"""Manifests and arrays that do not fit each other are never written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.bundle_builder import (
    OWNER_KEY,
    OWNER_TRUST,
    small_arrays,
    small_manifest,
)

from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import Arrays, ModelRecord, Preprocessing, ProbeSettings
from audit.errors import BundleError


def _with(name: str, index: tuple[int, ...], value: float) -> dict[str, Any]:
    array = getattr(small_arrays(), name).copy()
    array[index] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triggers": small_arrays().triggers.astype(np.int64)}, "triggers: expected uint8, got"),
        ({"triggers": small_arrays().triggers[:, :4]}, r"triggers: .* height = 8, got \[3, 4, 8"),
        ({"carriers": small_arrays().carriers[:2]}, "carriers: .* N = 3"),
        ({"trigger_labels": np.zeros((3, 1), np.int64)}, r"trigger_labels: expected shape \[N\]"),
        ({"model_query_labels": np.zeros((2, 5), np.int64)}, "model_query_labels: .* R = 3"),
        ({"source_probe_labels": np.zeros((3, 5), np.int64)}, "source_probe_labels: .* M = 6"),
        ({"probe_alphas": np.zeros(2, np.int64)}, "probe_alphas: expected 3 with probes, got 2"),
        (
            {"probe_ends": np.zeros((3, 0, 8, 8, 3), np.uint8)},
            "probe_ends: expected end images for ascent probes and only for them, got 0",
        ),
        ({"query_carriers": small_arrays().queries[:2]}, "query_carriers: .* queries .5. or none"),
        ({"query_groups": np.array([0, 1, 1, 3, 0])}, "query_groups: expected the numbers 0 to 2"),
        ({"query_groups": np.array([1, 2, 2, 1, 2])}, "query_groups: .* for 2 groups, got 1 to 2"),
        ({"query_groups": np.array([-1, 0, 2, 2, 0])}, "query_groups: .* for 3 groups, got -1 to"),
        (
            {"source_query_log_probabilities": np.log(np.full((5, 4), 0.25))},
            r"model_query_log_probabilities: .* S = 5, got \[3, 0, 4\]",
        ),
        (
            {
                "source_query_log_probabilities": np.log(np.full((5, 4), 0.25)),
                "model_query_log_probabilities": np.log(np.full((3, 5, 4), 0.3)),
            },
            "model_query_log_probabilities: expected rows that sum to 1",
        ),
        ({"controls": np.zeros((0, 8, 8, 3), np.uint8)}, "control_labels: .* C = 0"),
        (_with("trigger_labels", (0,), 4), "trigger_labels: expected values from 0 to 3"),
        (_with("control_labels", (0,), -1), "control_labels: expected values from 0 to 3"),
        (_with("probe_alphas", (0,), 65537), "probe_alphas: expected values from 0 to 65536"),
        (_with("model_probe_hits", (0, 0), 7), "model_probe_hits: expected values from 0 to 6"),
        (_with("model_trigger_losses", (0, 0), -0.1), "model_trigger_losses: expected values"),
        (_with("model_trigger_losses", (0, 0), np.nan), "model_trigger_losses: expected values"),
        (_with("model_trigger_losses", (0, 0), np.inf), "model_trigger_losses: expected values"),
        (_with("derived_probabilities", (0, 0), 1.5), "derived_probabilities: expected values"),
        (_with("innocent_probabilities", (0, 0), 0.3), "innocent_probabilities: expected rows"),
        (_with("source_trigger_log_probabilities", (0, 0), 0.0), "expected rows that sum to 1"),
        ({"model_rankings": np.zeros((3, 5, 2), np.int64)}, r"model_rankings: .* D = 3, got"),
        (_with("model_rankings", (0, 0, 0), 4), "model_rankings: expected values from 0 to 3"),
        (_with("selection_rankings", (0, 0, 0), 1), "selection_rankings: expected each class once"),
        (
            {
                "selection_rankings": np.tile(np.arange(4), (2, 5, 1)),
                "model_rankings": np.tile(np.arange(4), (3, 5, 1)),
            },
            "selection_rankings: expected at most 3 classes, got 4",
        ),
        (_with("source_trigger_log_probabilities", (0, 0), -np.inf), "expected values from"),
    ],
)
def test_arrays_that_do_not_fit_are_not_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_bundle(
            tmp_path / "b.kinprint", small_manifest(), replace(small_arrays(), **changes), OWNER_KEY
        )

    assert list(tmp_path.iterdir()) == []


def _probe_settings(**changes: Any) -> ProbeSettings:
    settings = small_manifest().probes
    assert settings is not None
    return settings.model_copy(update=changes)


def _all_derived() -> tuple[ModelRecord, ...]:
    return tuple(model.model_copy(update={"role": "derived"}) for model in small_manifest().models)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "task": small_manifest().task.model_copy(
                    update={"class_names": ("a", "b", "a", "c")}
                )
            },
            "class_names: expected different names",
        ),
        (
            {"preprocessing": Preprocessing(mean=(0.5,), std=(0.5, 0.5, 0.5))},
            "preprocessing.mean: expected 3 values",
        ),
        (
            {"preprocessing": Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.0, 0.5))},
            "preprocessing.std: expected values above 0",
        ),
        ({"models": small_manifest().models[::-1]}, "expected selection models before"),
        ({"probes": _probe_settings(kind="noise")}, "only for them, got 2 for noise"),
        ({"probes": _probe_settings(digests=("0" * 64,))}, r"probes.digests: .*\(3\), got 1"),
        ({"probes": None}, "source_probe_labels: .* M = 0"),
        (
            {"models": tuple(m for m in small_manifest().models if m.name != "mimic-0")},
            r"selection_rankings: .* B = 1, got \[2, 5, 3\]",
        ),
        ({"models": _all_derived()}, "derived and innocent selection models, got derived"),
        ({"owner": "\ud800"}, "manifest.json: no canonical JSON"),
        ({"crafting": {"seed": 2**60}}, "manifest.json: no canonical JSON"),
    ],
)
def test_a_manifest_that_does_not_fit_is_not_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_bundle(
            tmp_path / "b.kinprint",
            small_manifest().model_copy(update=changes),
            small_arrays(),
            OWNER_KEY,
        )

    assert list(tmp_path.iterdir()) == []


def _queries_only() -> Arrays:
    return replace(
        small_arrays(),
        triggers=np.zeros((0, 8, 8, 3), np.uint8),
        carriers=np.zeros((0, 8, 8, 3), np.uint8),
        trigger_labels=np.zeros(0, np.int64),
        source_trigger_log_probabilities=np.zeros((0, 4)),
        probe_alphas=np.zeros(0, np.int64),
        probe_ends=np.zeros((0, 0, 8, 8, 3), np.uint8),
        source_probe_labels=np.zeros((0, 0), np.int64),
        model_trigger_losses=np.zeros((3, 0)),
        model_probe_hits=np.zeros((3, 0), np.int64),
    )


def test_a_bundle_without_triggers_can_ask_its_queries(tmp_path: Path) -> None:
    manifest = small_manifest().model_copy(update={"probes": None})

    write_bundle(tmp_path / "b.kinprint", manifest, _queries_only(), OWNER_KEY)

    contents = read_bundle(tmp_path / "b.kinprint", OWNER_TRUST)
    assert contents.arrays.triggers.shape == (0, 8, 8, 3)
    assert len(contents.arrays.queries) == 5


def test_a_bundle_with_nothing_to_ask_is_not_written(tmp_path: Path) -> None:
    manifest = small_manifest().model_copy(update={"probes": None})
    nothing = replace(
        _queries_only(),
        queries=np.zeros((0, 8, 8, 3), np.uint8),
        source_query_labels=np.zeros(0, np.int64),
        query_groups=np.zeros(0, np.int64),
        derived_probabilities=np.zeros((0, 4)),
        innocent_probabilities=np.zeros((0, 4)),
        model_query_labels=np.zeros((3, 0), np.int64),
        selection_rankings=np.zeros((2, 0, 0), np.int64),
        model_rankings=np.zeros((3, 0, 0), np.int64),
    )

    with pytest.raises(BundleError, match="triggers, queries: expected at least one, got none"):
        write_bundle(tmp_path / "b.kinprint", manifest, nothing, OWNER_KEY)


@pytest.mark.parametrize("score", ["mfue-w", "mfue-b"])
def test_a_default_score_with_nothing_to_ask_is_refused(tmp_path: Path, score: str) -> None:
    manifest = small_manifest().model_copy(update={"probes": None, "default_score": score})

    with pytest.raises(BundleError, match=f"default_score: {score} has nothing to ask"):
        write_bundle(tmp_path / "b.kinprint", manifest, _queries_only(), OWNER_KEY)
