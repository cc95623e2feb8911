"""``kinprint challenge --fine-tune``: what a judge's innocents become is tried as well."""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from worlds.in_process import Done, run
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import tiny_images, trained_net, write_images
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle, open_file
from generator.errors import GenerationError
from generator.jobs.tuned_strangers import FINE_TUNED, fine_tuning


def challenged(world: TinyWorld, models: Path, *options: object) -> Done:
    return run(
        *("challenge", world.bundle, "--trust", world.public_key, "--json", "--quiet"),
        *("--onnx", models, *options),
    )


@pytest.mark.long
def test_fine_tuned_innocents_are_tried_like_the_others(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    for seed in range(201, 206):
        net = trained_net(seed, tiny_images(200, seed))
        write_onnx(tmp_path / "models" / f"innocent-{seed}.onnx", net)
    (tmp_path / "models" / "broken.onnx").write_bytes(b"no model")
    images = write_images(tmp_path / "images", tiny_images(120, 9))
    done = challenged(tiny_world, tmp_path / "models", "--fine-tune", "--images", images)
    assert done.returncode == 11, done.stderr  # five networks are too few for "stands"
    tests = {test["kind"]: test for test in json.loads(done.stdout)["tests"]}
    assert tests[FINE_TUNED]["num_models"] == 5
    assert tests[FINE_TUNED]["num_accused"] == 0


def test_it_moves_a_network_and_leaves_its_skill(tiny_world: TinyWorld, tmp_path: Path) -> None:
    bundle = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    change = fine_tuning(bundle, [tiny_world.folder / "train"])[FINE_TUNED]
    path = tiny_world.folder / "copy.onnx"
    before = path.read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    (_, tuned), (_, none) = change([path, broken])

    assert path.read_bytes() == before
    assert none is None
    assert tuned is not None
    fresh = tiny_images(100, 77).images
    with closing(open_file(bundle, path, device="cpu")) as suspect:
        parts = [suspect.predict(fresh[start : start + 10]) for start in range(0, 100, 10)]
    changed = tuned.predict(fresh)
    labels = np.concatenate([part.labels for part in parts])
    values = np.concatenate([part.log_probabilities for part in parts])
    assert changed.log_probabilities is not None
    assert np.abs(changed.log_probabilities - values).max() > 1e-3
    assert (changed.labels == labels).mean() > 0.8


def test_images_of_other_classes_are_refused_before_anything_is_asked(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", tiny_images(30, 9))
    next(path for path in images.iterdir() if path.is_dir()).rename(images / "zebra")
    done = challenged(tiny_world, tiny_world.folder, "--fine-tune", "--images", images)
    assert done.returncode == 2
    assert "zebra" in done.stderr
    bundle = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    with pytest.raises(GenerationError, match="zebra"):
        fine_tuning(bundle, [images])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--fine-tune",), "--fine-tune takes --images, too"),
        (("--fine-tune", "--images", ".", "--as-they-are"), "--fine-tune and --as-they-are"),
        (("--fine-tune", "--images", ".", "--require-sandbox"), "and --require-sandbox exclude"),
        (("--images", "."), "--images goes with --retrain or --fine-tune"),
        (("--draw", 0), "--draw goes with --retrain"),
    ],
)
def test_options_that_do_not_fit_are_named(
    tiny_world: TinyWorld, options: tuple[object, ...], told: str
) -> None:
    done = challenged(tiny_world, tiny_world.folder, *options)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
