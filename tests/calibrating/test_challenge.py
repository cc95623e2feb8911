"""``kinprint challenge``: does a bundle accuse models that are surely innocent?"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from worlds.audit_world import known_bundle
from worlds.in_process import run
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import tiny_images, trained_net
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from audit.calibrating.bundle_faults import bundle_faults
from audit.calibrating.challenge import Finding, challenge
from audit.calibrating.model_folder import model_files


@pytest.fixture(scope="module")
def innocents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("innocents")
    train = tiny_images(300, 1)
    for seed in (201, 202):
        write_onnx(folder / f"innocent-{seed}.onnx", trained_net(seed, train))
    return folder


def challenged(world: TinyWorld, folder: Path, *options: str) -> tuple[int, str, str]:
    result = run("challenge", world.bundle, "--trust", world.public_key, "--onnx", folder, *options)
    return result.returncode, result.stdout, result.stderr


def test_with_two_models_nothing_can_be_said(tiny_world: TinyWorld, innocents: Path) -> None:
    code, told, _ = challenged(tiny_world, innocents)
    assert code == 11
    told = " ".join(told.split())
    # At alpha = 0.1 and a level of 0.0125 six accusations refute 18 models, P(X >= 6) = 0.0064,
    # and one that accuses every second innocent gets so many with probability 0.952; five of 15
    # have probability 0.0127, and of 17 six refute with probability 0.928 only.
    assert "With 2 models nothing can be said: it takes 18 networks" in told
    assert "0 of 2 innocent models accused" in told
    # Clopper-Pearson of 0 in 2: 1 - 0.025 ** (1 / 2) = 0.842
    assert "0.0% to 84.2%" in told


def test_a_bundle_that_accuses_too_many_fails(tiny_world: TinyWorld, tmp_path: Path) -> None:
    for name in ("copy", "pruned"):
        shutil.copy(tiny_world.folder / f"{name}.onnx", tmp_path)
    code, told, _ = challenged(tiny_world, tmp_path, "--json")
    document = json.loads(told)
    assert code == document["exit_code"] == 10
    assert document["finding"] == "fails"
    assert (document["num_accused"], document["num_models"]) == (2, 2)
    # alpha = 0.1: two of two at a rate of 0.1 have probability 0.01
    assert document["p_value"] == pytest.approx(0.01)


def test_a_file_that_cannot_be_asked_is_a_row_with_its_reason(
    tiny_world: TinyWorld, innocents: Path, tmp_path: Path
) -> None:
    shutil.copytree(innocents, tmp_path, dirs_exist_ok=True)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    shutil.copy(tmp_path / "innocent-201.onnx", tmp_path / "twin.onnx")
    code, told, _ = challenged(tiny_world, tmp_path, "--json")
    document = json.loads(told)
    assert code == 11
    reasons = {Path(row["path"]).name: row["reason"] for row in document["left_out"]}
    assert "expected an ONNX model" in reasons["broken.onnx"]
    assert reasons["twin.onnx"].startswith("the same file as ")
    assert document["num_models"] == 2


def test_nothing_to_challenge_with_is_an_error_that_says_so(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    code, _, told = challenged(tiny_world, tmp_path / "none")
    assert code == 2
    assert "models: there is no folder" in told
    code, _, told = challenged(tiny_world, tmp_path)
    assert code == 2
    assert "expected *.onnx files" in told


def test_stored_answers_that_the_file_does_not_give_are_a_fault(
    tiny_world: TinyWorld, innocents: Path
) -> None:
    bundle = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    (path, _) = model_files(innocents)
    ((model, *_), digest) = bundle.manifest.calibration_models, file_digest(path)
    renamed = model.model_copy(update={"weights_sha256": digest})
    models = tuple(renamed if one == model else one for one in bundle.manifest.models)
    claimed = dataclasses.replace(
        bundle, manifest=bundle.manifest.model_copy(update={"models": models})
    )
    found = challenge(claimed, [path])
    assert found.finding is Finding.FAILS
    assert any("this very file answers" in fault for fault in found.faults)


def file_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_trigger_farther_from_its_image_than_stated_is_a_fault() -> None:
    bundle = known_bundle(crafting={"trigger_radius": 8})
    carriers = bundle.arrays.triggers.astype(np.int64)
    carriers[0, 0, 0, 0] += 9
    arrays = dataclasses.replace(bundle.arrays, carriers=carriers.astype(np.uint8))
    (fault,) = bundle_faults(dataclasses.replace(bundle, arrays=arrays))
    assert fault == (
        "A trigger differs by 9 / 255 from its natural image; the manifest says at most 8."
    )


def test_a_model_that_both_chose_queries_and_calibrates_is_a_fault() -> None:
    bundle = known_bundle()
    model = bundle.manifest.calibration_models[0].model_copy(update={"weights_sha256": "1" * 64})
    twin = model.model_copy(update={"use": "selection", "name": "twin"})
    models = (twin, model, *bundle.manifest.models[1:])
    changed = bundle.manifest.model_copy(update={"models": models})
    (fault,) = bundle_faults(dataclasses.replace(bundle, manifest=changed))
    assert "'twin' with the same weights chose the queries" in fault
