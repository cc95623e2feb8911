"""``kinprint challenge --retrain``: innocents trained again are what the bundle says, or not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds.in_process import Done, run
from worlds.tiny_world import HERE, PUBLIC_VALUE, TinyWorld

from audit.api import open_bundle
from audit.bundle.bundle_file import write_bundle
from audit.signing.keys import load_private_key


def retrain(world: TinyWorld, bundle: Path, *more: object, num: int = 2) -> Done:
    return run(
        *("challenge", bundle, "--trust", world.public_key, "--retrain", num, "--json", "--quiet"),
        *("--model-code", f"{HERE / 'tiny_task.py'}:tiny_net", "--images", world.folder / "train"),
        *("--held-out", world.folder / "held-out", "--device", "cpu", *more),
    )


def test_honest_innocents_are_trained_again_to_the_bit(tiny_world: TinyWorld) -> None:
    done = retrain(tiny_world, tiny_world.bundle, "--draw", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["likeness"] for one in found["innocents"]] == ["same weights"] * 2
    assert found["draw"] == 1
    again = json.loads(retrain(tiny_world, tiny_world.bundle, "--draw", 1).stdout)
    assert again == found
    told = run("inspect", tiny_world.bundle, "--trust", tiny_world.public_key, "--json").stdout
    assert json.loads(told)["manifest"]["retraining"]["seed_from"] == PUBLIC_VALUE


def test_an_invented_innocent_is_found(tiny_world: TinyWorld, tmp_path: Path) -> None:
    """Answers that were made up to lower the threshold: the class that copies never give."""
    honest = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    row = next(
        row
        for row, model in enumerate(honest.manifest.calibration_models)
        if model.role == "innocent"
    )
    labels = honest.arrays.model_query_labels.copy()
    labels[row] = (honest.arrays.source_query_labels + 1) % honest.manifest.task.num_classes
    rankings = honest.arrays.model_rankings.copy()
    rankings[row] = np.roll(rankings[row], 1, axis=-1)
    forged = tmp_path / "forged.kinprint"
    write_bundle(
        forged,
        honest.manifest,
        replace(honest.arrays, model_query_labels=labels, model_rankings=rankings),
        load_private_key(tiny_world.folder / "owner.key", None),
    )
    done = retrain(tiny_world, forged, num=100)
    assert done.returncode == 10, done.stderr
    others = [
        one for one in json.loads(done.stdout)["innocents"] if one["likeness"] == "other answers"
    ]
    assert [one["name"] for one in others] == [honest.manifest.calibration_models[row].name]


def test_another_machine_may_be_why(tiny_world: TinyWorld, tmp_path: Path) -> None:
    """The same forgery, said to come from another processor: nothing is found, and it is told."""
    honest = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    assert honest.manifest.retraining is not None
    elsewhere = honest.manifest.retraining.model_copy(update={"processor": "riscv64 RVV"})
    labels = (honest.arrays.model_query_labels + 1) % honest.manifest.task.num_classes
    key = load_private_key(tiny_world.folder / "owner.key", None)
    path = tmp_path / "elsewhere.kinprint"
    write_bundle(
        path,
        honest.manifest.model_copy(update={"retraining": elsewhere}),
        replace(honest.arrays, model_query_labels=labels),
        key,
    )
    done = retrain(tiny_world, path, num=1)
    assert done.returncode == 11, done.stderr
    (difference,) = json.loads(done.stdout)["differences"]
    assert difference.endswith("riscv64 RVV there")


def test_other_images_are_no_answer(tiny_world: TinyWorld) -> None:
    done = retrain(tiny_world, tiny_world.bundle, "--images", tiny_world.folder / "held-out")
    assert done.returncode == 2
    assert "images: expected the 300 images that the bundle's innocents were" in done.stderr


def test_another_ancestor_is_no_answer(tiny_world: TinyWorld) -> None:
    weights = tiny_world.folder / "source.safetensors"
    done = retrain(tiny_world, tiny_world.bundle, "--ancestor", weights)
    assert done.returncode == 2
    assert "ancestor: expected none, as the bundle's innocents had it, got weights" in done.stderr


def test_a_bundle_that_says_nothing_is_the_owners_word(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    bundle = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    silent = tmp_path / "silent.kinprint"
    manifest = bundle.manifest.model_copy(update={"retraining": None})
    key = load_private_key(tiny_world.folder / "owner.key", None)
    write_bundle(silent, manifest, bundle.arrays, key)
    done = retrain(tiny_world, silent)
    assert done.returncode == 2
    assert "retrain: no innocent of this bundle can be trained again" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--draw", "3"], "--draw goes with --retrain"),
        ([], "expected --onnx DIR with innocent models, or --retrain N"),
        (["--retrain", "1"], "--retrain takes --model-code, too"),
        (["--retrain", "1", "--model-code", "a.py:a"], "--retrain takes --images, too"),
        (["--retrain", "1", "--onnx", "."], "two questions"),
    ],
)
def test_options_that_do_not_go_together(
    tiny_world: TinyWorld, arguments: list[str], message: str
) -> None:
    done = run("challenge", tiny_world.bundle, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_plan_tells_the_digest_to_publish(tiny_world: TinyWorld, tmp_path: Path) -> None:
    done = run(*tiny_world.craft_arguments(tmp_path / "other.kinprint"), "--plan")
    assert done.returncode == 0, done.stderr
    retraining = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key]).manifest.retraining
    assert retraining is not None
    assert f"Recipe of the innocents: {retraining.recipe.sha256}." in done.stdout
