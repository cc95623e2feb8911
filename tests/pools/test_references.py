"""``kinprint references``: innocents of many kinds, resumable, and what takes them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.tiny_task import NORMALISE, tiny_net
from worlds.tiny_world import HERE, TinyWorld

from generator.errors import GenerationError
from generator.images.reading import load_images
from generator.pools.given_references import load_references
from generator.pools.reference_kinds import KINDS, ReferenceRecipe, make_reference
from generator.sources.contract import InputContract
from generator.sources.source import load_source
from generator.sources.torch_suspect import predict_logits

ALL = len(KINDS)
"""One of each kind; each model's export takes a second."""


def arguments(world: TinyWorld, out: Path, *options: str) -> list[str]:
    return [
        *("references", f"--model={HERE / 'tiny_task.py'}:tiny_net"),
        *(f"--weights={world.folder / 'source.safetensors'}", f"--normalise={NORMALISE}"),
        *(f"--images={world.folder / 'train'}", f"--out={out}", "--device=cpu"),
        *("--learning-rate=0.02", *(options or ("--epochs=6",))),
    ]


@pytest.fixture(scope="module")
def made(tiny_world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One reference of every kind, from a run that was killed and one that went on."""
    folder = tmp_path_factory.mktemp("references") / "made"
    options = arguments(tiny_world, folder, "--epochs=6", f"--num={ALL}")
    killed = subprocess.Popen(
        [sys.executable, "-m", "kinprint", *options], stderr=subprocess.DEVNULL, env=os.environ
    )
    while not list(folder.rglob("*.onnx")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    num_found = len(list(folder.rglob("*.onnx")))
    assert 0 < num_found < ALL
    result = run(*options)
    assert result.returncode == 0, result.stderr
    assert f"{ALL} references, {num_found} of them were there already" in result.stderr
    return folder


@pytest.mark.whole
def test_every_kind_is_there_and_classifies(tiny_world: TinyWorld, made: Path) -> None:
    assert len(list(made.rglob("*.onnx"))) == ALL
    assert {path.parent.name for path in made.rglob("*.onnx")} == {
        kind.stratum.replace(" ", "-") for kind in KINDS
    }
    assert not list(made.rglob("*.part"))
    result = run(
        "challenge", tiny_world.bundle, "--trust", tiny_world.public_key, "--onnx", made, "--json"
    )
    assert '"left_out": []' in result.stdout


@pytest.mark.whole
def test_crafting_takes_each_model_once(tiny_world: TinyWorld, made: Path) -> None:
    controls, _ = load_images([tiny_world.folder / "held-out"])
    device = next(tiny_net().parameters()).device
    references = load_references(
        made,
        controls,
        contract=InputContract(mean=(0.5,) * 3, std=(0.25,) * 3),
        device=device,
        tell=pytest.fail,
    )
    assert len(references) == ALL
    # gradients can be had of all that have the source's architecture
    with_gradients = [one for one in references if one.network is not None]
    assert len(with_gradients) == sum(kind.architecture == "source" for kind in KINDS)


@pytest.mark.whole
def test_another_recipe_does_not_mix_with_what_is_there(tiny_world: TinyWorld, made: Path) -> None:
    result = run(*arguments(tiny_world, made, "--epochs=11"))
    assert result.returncode == 2
    assert "holds references made with another epochs; choose another folder" in result.stderr


def test_a_number_gives_the_same_model_again(tiny_world: TinyWorld) -> None:
    data, _ = load_images([tiny_world.folder / "train"])
    source = load_source(
        f"{HERE / 'tiny_task.py'}:tiny_net",
        tiny_world.folder / "source.safetensors",
        contract=InputContract(mean=(0.5,) * 3, std=(0.25,) * 3),
    )
    recipe = ReferenceRecipe(epochs=2, learning_rate=0.02, seed=3)
    for number in (0, KINDS.index(next(kind for kind in KINDS if kind.is_distilled))):
        one, other = (make_reference(source, data, number, recipe) for _ in range(2))
        answers = [predict_logits(model.model, data.images[:50]) for model in (one, other)]
        assert (answers[0] == answers[1]).all()
    siblings = [
        predict_logits(make_reference(source, data, number, recipe).model, data.images[:50])
        for number in (0, 2)
    ]
    assert (siblings[0] != siblings[1]).any()


def test_weights_and_an_onnx_file_exclude_each_other(tiny_world: TinyWorld, tmp_path: Path) -> None:
    from generator.jobs.references import run_reference_job

    with pytest.raises(GenerationError, match=r"weights: expected none with copy\.onnx"):
        run_reference_job(
            model=str(tiny_world.folder / "copy.onnx"),
            weights=tiny_world.folder / "source.safetensors",
            normalise=NORMALISE,
            images=[tiny_world.folder / "train"],
            classes=None,
            folder=tmp_path,
            num_references=1,
            recipe=ReferenceRecipe(epochs=1, learning_rate=0.1, seed=0),
            max_images=None,
            device="cpu",
            on_step=lambda done, total: None,
        )
