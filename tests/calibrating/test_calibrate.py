"""``kinprint calibrate``: more models into a bundle, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.fingerprint_builder import line_up_bundle
from worlds.in_process import run
from worlds.record_builder import innocent_rule
from worlds.screens.ui_desk import answering_model
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import tiny_images, trained_net
from worlds.tiny_world import TinyWorld

from audit.api import audit_suspect, open_bundle
from audit.bundle.manifest import Steps
from audit.signing.keys import write_key_pair
from audit.suspects.opening import open_file


@pytest.fixture(scope="module")
def innocents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight new innocents of two kinds."""
    folder = tmp_path_factory.mktemp("innocents")
    for number in range(8):
        path = folder / ("siblings" if number % 2 else "others") / f"model-{number}.onnx"
        path.parent.mkdir(exist_ok=True)
        write_onnx(path, trained_net(300 + number, tiny_images(300, 1 if number % 2 else 9)))
    return folder


def calibrated(world: TinyWorld, folder: Path, out: Path, *options: str) -> tuple[int, str, str]:
    result = run(
        "calibrate",
        world.bundle,
        *("--innocent", folder, "--key", world.folder / "owner.key", "--out", out),
        *options,
    )
    return result.returncode, result.stdout, result.stderr


def test_more_innocents_make_a_smaller_p_value_possible(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more.kinprint"
    code, told, complaint = calibrated(tiny_world, innocents, out, "--report-share", "0", "--json")
    assert code == 0, complaint
    trust = [tiny_world.public_key]
    before, after = open_bundle(tiny_world.bundle, trust=trust), open_bundle(out, trust=trust)
    num = sum(model.role == "innocent" for model in before.manifest.calibration_models)
    assert json.loads(told)["num_innocents"] == num + 8
    suspect = open_file(after, tiny_world.folder / "copy.onnx")
    try:
        score = audit_suspect(after, suspect, journal=tmp_path / "journal.sqlite").scores[0]
    finally:
        suspect.close()
    assert score.verdict == "derived"
    assert score.p_value == 1 / (num + 9)
    assert {"siblings", "others"} <= set(score.strata)


def test_what_was_in_the_bundle_stays_as_it_was(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more.kinprint"
    assert calibrated(tiny_world, innocents, out)[0] == 0
    trust = [tiny_world.public_key]
    before, after = open_bundle(tiny_world.bundle, trust=trust), open_bundle(out, trust=trust)
    num = len(before.manifest.calibration_models)
    for name in ("queries", "triggers", "controls", "derived_probabilities", "probe_alphas"):
        assert np.array_equal(getattr(before.arrays, name), getattr(after.arrays, name))
    for name in ("model_query_labels", "model_trigger_losses", "model_probe_hits"):
        assert np.array_equal(getattr(before.arrays, name), getattr(after.arrays, name)[:num])
    assert after.manifest.crafting["recalibrated_from"] == before.manifest_sha256


def test_a_share_of_every_kind_only_reports(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more.kinprint"
    code, told, _ = calibrated(tiny_world, innocents, out, "--report-share", "0.25", "--json")
    document = json.loads(told)
    assert code == 0
    # one of four of either kind
    assert document["held_out"]["num_models"] == 2
    low, high = document["held_out"]["interval"]
    assert low <= document["held_out"]["num_wrong"] / 2 <= high


def test_an_innocent_that_scores_like_derived_models_is_named_and_nothing_is_written(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "models", tmp_path / "more.kinprint"
    shutil.copytree(innocents, folder)
    shutil.copy(tiny_world.folder / "pruned.onnx", folder / "others" / "honest.onnx")
    code, _, told = calibrated(tiny_world, folder, out)
    assert code == 2
    assert "1 of 9 score like derived ones: " in told
    assert "others/honest.onnx" in told
    assert not out.exists()
    assert calibrated(tiny_world, folder, out, "--keep-outliers")[0] == 0


def test_a_rate_that_the_models_cannot_support_says_how_many_it_takes(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more.kinprint"
    code, _, told = calibrated(tiny_world, innocents, out, "--alpha", "0.01")
    assert code == 2
    assert "alpha: 0.01 needs 99 innocent lineages" in told
    assert not out.exists()


def test_models_that_are_there_already_are_not_counted_twice(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.kinprint", tmp_path / "twice.kinprint"
    assert calibrated(tiny_world, innocents, once, "--report-share", "0")[0] == 0
    result = run(
        "calibrate", once, "--innocent", innocents, "--key", tiny_world.folder / "owner.key",
        "--out", twice,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.count("is in the bundle already, as 'model-") == 8
    assert "expected at least one new model" in result.stderr


def test_a_line_up_stays_in_the_bundle_and_its_levels_follow_alpha(tmp_path: Path) -> None:
    bundle, out = tmp_path / "b.kinprint", tmp_path / "c.kinprint"
    steps = Steps(crafted_alpha=0.05, line_up_alpha=0.05)
    before = line_up_bundle(bundle, default_score="likelihood-ratio", steps=steps).line_up
    write_key_pair(tmp_path / "owner.key", OWNER_KEY, None)
    (tmp_path / "models").mkdir()
    onnx.save(answering_model(innocent_rule), tmp_path / "models" / "stranger.onnx")
    result = run(
        "calibrate",
        bundle,
        *("--innocent", tmp_path / "models", "--report-share", "0", "--alpha", "0.15"),
        *("--key", tmp_path / "owner.key", "--out", out),
    )
    assert result.returncode == 0, result.stderr
    made = open_bundle(out, trust=[tmp_path / "owner.pub"])
    # One rank of 20 is the most that half of 0.15 holds.
    assert made.manifest.steps == Steps(crafted_alpha=0.1, line_up_alpha=0.05)
    after = made.line_up
    assert before is not None
    assert after is not None
    assert after.record == before.record
    assert np.array_equal(after.arrays.member_codes, before.arrays.member_codes)
