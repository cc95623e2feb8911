"""A source that is a new head on a public backbone does not own what others made of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from worlds.in_process import run
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import MEAN, STD, tiny_images, tiny_net, trained_net
from worlds.tiny_world import TinyWorld

from generator.images.labelled import ImageSet
from generator.pools.reference_kinds import ReferenceRecipe, make_reference
from generator.sources.ancestor import load_ancestor
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source

RECIPE = ReferenceRecipe(epochs=5, learning_rate=0.1, seed=77)
ALL_LAYERS, HEAD_ONLY = 0, 1


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tiny_images(300, 8)
    labels = (data.labels + 1) % 3
    path: Path = tmp_path_factory.mktemp("public") / "public.pth"
    torch.save(
        trained_net(5, ImageSet(data.images, labels, data.class_names)).network.state_dict(), path
    )
    return path


def descendant(public: Path, images: ImageSet, number: int, seed: int) -> Normalised:
    """Return what somebody made of the public checkpoint."""
    alone = Source(
        model=Normalised(tiny_net(), MEAN, STD),
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="0" * 64,
        contract=InputContract(mean=MEAN, std=STD),
    )
    begun = replace(alone, ancestor=load_ancestor(str(public), alone.model.network))
    return make_reference(begun, images, number, replace(RECIPE, seed=seed)).model


def test_copies_are_found_and_relatives_are_not_accused(
    tiny_world: TinyWorld, tmp_path: Path, public: Path
) -> None:
    owner = descendant(public, tiny_images(300, 1), ALL_LAYERS, 1)
    torch.save(owner.network.state_dict(), tmp_path / "owner.pt")
    out = tmp_path / "x.kinprint"
    changes = {"weights": str(tmp_path / "owner.pt"), "ancestor": str(public)}
    done = run(*tiny_world.craft_arguments(out, **changes))
    assert done.returncode == 0, done.stderr
    assert "Fine-tuning 19 innocent references from public.pth." in done.stderr
    suspects = {
        "copy": owner,
        "relative-all": descendant(public, tiny_images(300, 21), ALL_LAYERS, 21),
        "relative-head": descendant(public, tiny_images(300, 22), HEAD_ONLY, 22),
        "relative-too": descendant(public, tiny_images(300, 23), ALL_LAYERS, 23),
    }
    options = []
    for name, model in suspects.items():
        write_onnx(tmp_path / f"{name}.onnx", model)
        options += ["--onnx", str(tmp_path / f"{name}.onnx")]
    audited = run("audit", str(out), "--trust", str(tiny_world.public_key), *options, "--json")
    rows: list[dict[str, Any]] = json.loads(audited.stdout)["audits"]
    verdicts = dict(zip(suspects, (row["outcome"]["verdict"] for row in rows), strict=True))
    assert verdicts["copy"] == "derived"
    relatives = [verdict for name, verdict in verdicts.items() if name != "copy"]
    # At a stated rate of 0.1 one of three may well be; two would be by a chance of 0.028.
    assert relatives.count("derived") <= 1
    shown = run("inspect", str(out), "--trust", str(tiny_world.public_key), "--json")
    manifest = json.loads(shown.stdout)["manifest"]
    assert manifest["crafting"]["ancestor"] == "public.pth"
    strata = {model["stratum"] for model in manifest["models"] if model["role"] == "innocent"}
    # The hardened ones are made from innocents that shape queries.
    assert strata - {"hardened"} == {"same ancestor, all layers", "same ancestor, head only"}


def test_a_source_that_training_from_scratch_does_not_reach_is_asked_for_its_ancestor(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    # One epoch at a tiny rate learns nothing, as a large network does from a few hundred images.
    slow = {"reference_learning_rate": "0.000001", "reference_epochs": "1"}
    arguments = tiny_world.craft_arguments(tmp_path / "x.kinprint", **slow)
    done = run(*arguments)
    assert done.returncode == 2
    assert "name that with --ancestor" in done.stderr
    # At both rates, and no other innocent.
    assert len(list((tmp_path / "work").glob("reference-*"))) == 2


def test_what_is_no_ancestor_is_told_before_anything_is_trained(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    arguments = tiny_world.craft_arguments(tmp_path / "x.kinprint", ancestor="nowhere.pt")
    done = run(*arguments)
    assert done.returncode == 2
    assert "there is no file nowhere.pt" in done.stderr
