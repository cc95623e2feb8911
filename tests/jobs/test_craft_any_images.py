"""Crafting from pictures of any size for a network that wants its channels in another order."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from worlds.in_process import run
from worlds.tiny_task import CLASSES, STD, tiny_images, tiny_net, trained_net
from worlds.tiny_world import TinyWorld

from adapters.geometry import Geometry, apply_geometry
from audit.bundle.bundle_file import read_bundle
from audit.signing.keys import load_trust
from audit.suspects.opening import open_file
from generator.images.labelled import ImageSet
from generator.sources.onnx_export import export_onnx
from generator.sources.source import Normalised

GEOMETRY = Geometry(resize=16, crop=(12, 12), resampling="nearest")
PREPROCESS = (
    "mean = [0.3, 0.5, 0.7]\nstd = [0.25, 0.25, 0.25]\n"
    'color_order = "BGR"\nresize = 16\ncrop = 12\nresampling = "nearest"\n'
)


def write_pictures(folder: Path, data: ImageSet) -> ImageSet:
    """Write larger pictures of which every image is the centre; return what preprocessing gives."""
    rng = np.random.default_rng(0)
    seen = []
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        grown = np.kron(image, np.ones((3, 3, 1), np.uint8))
        # 16 over 12 of what is 36 high, and wider or not.
        canvas = rng.integers(0, 256, (48, 48 + 30 * (number % 2), 3), dtype=np.uint8)
        left = (canvas.shape[1] - 36) // 2
        canvas[6:42, left : left + 36] = grown
        picture = Image.fromarray(canvas)
        path = folder / data.class_names[label] / f"{number:04d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        seen.append(apply_geometry(picture, GEOMETRY))
    return ImageSet(np.stack(seen), data.labels, data.class_names)


def test_a_network_with_its_own_ideas_is_crafted_signed_and_found_again(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    train = write_pictures(whole / "train", tiny_images(240, 1))
    held_out = write_pictures(whole / "val", tiny_images(300, 2))
    model = trained_net(1, train)
    # The same function for channels in BGR order and other means: RGB order is the contract's.
    network = tiny_net()
    state = model.network.state_dict()
    with torch.no_grad():
        state["conv.weight"] = state["conv.weight"].flip(1)
    network.load_state_dict(state)
    weights, preprocess = tmp_path / "bgr.pt", tmp_path / "pre.toml"
    torch.save(network.state_dict(), weights)
    preprocess.write_text(PREPROCESS.replace("[0.3, 0.5, 0.7]", "[0.5, 0.5, 0.5]"))
    out = tmp_path / "any.kinprint"
    changes = {"weights": str(weights), "images": str(whole), "preprocess": str(preprocess)}
    arguments = tiny_world.craft_arguments(out, **changes)
    skipped = ("--held-out", "--normalise", "--triggers", "--queries")
    arguments = [text for text in arguments if not text.startswith(skipped)]
    done = run(*arguments, "--triggers=6", "--queries=20", "--candidates=natural")
    assert done.returncode == 0, done.stderr
    assert "Found parts of a data set" in done.stderr

    bundle = read_bundle(out, load_trust([tiny_world.public_key]))
    task, contract = bundle.manifest.task, bundle.manifest.preprocessing
    assert (task.height, task.width, task.class_names) == (12, 12, CLASSES)
    assert contract.color_order == "BGR"
    assert contract.geometry is not None
    assert (contract.geometry.resize, contract.geometry.crop) == (16, (12, 12))
    # What is signed is what the owner's preprocessing made of the owner's own files.
    known = {image.tobytes() for image in held_out.images}
    assert all(image.tobytes() in known for image in bundle.arrays.controls)

    copy = tmp_path / "copy.onnx"
    export_onnx(network, copy, image_shape=(12, 12, 3))
    controls = bundle.arrays.controls
    expected = Normalised(network, (0.5,) * 3, STD, "BGR")(
        torch.from_numpy(controls).permute(0, 3, 1, 2).float() / 255
    )
    with open_file(bundle, copy) as suspect:  # type: ignore[attr-defined]
        answers = suspect.predict(controls[: suspect.batch_size])
    assert answers.labels.tolist() == expected.argmax(1).tolist()[: len(answers.labels)]
    shown = run("inspect", str(out), "--trust", str(tiny_world.public_key))
    assert "shorter side 16, nearest, centre 12 x 12" in " ".join(shown.stdout.split())


@pytest.mark.parametrize("missing", ["pre.toml", "hf:nowhere"])
def test_preprocessing_that_is_not_there_is_told_before_anything_is_read(
    tiny_world: TinyWorld, tmp_path: Path, missing: str
) -> None:
    done = run(
        *tiny_world.craft_arguments(tmp_path / "x.kinprint", preprocess=missing, images="no")
    )
    assert done.returncode == 2
    assert "error: preprocess: cannot read" in done.stderr
