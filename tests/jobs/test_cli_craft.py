import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from worlds.in_process import run
from worlds.own_process import kinprint
from worlds.tiny_task import tiny_images, write_images
from worlds.tiny_world import HERE, TinyWorld


@pytest.mark.long
def test_two_runs_give_the_same_bytes(tiny_world: TinyWorld, tmp_path: Path) -> None:
    out = tmp_path / "again.kinprint"
    done = kinprint(*tiny_world.craft_arguments(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert out.read_bytes() == tiny_world.bundle.read_bytes()


@pytest.mark.long
def test_a_run_that_is_killed_goes_on_says_so_and_gives_the_same_bytes(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    out = tmp_path / "resumed.kinprint"
    arguments = [sys.executable, "-m", "kinprint", *tiny_world.craft_arguments(out)]
    work = tmp_path / "work"
    for what, num in (("mimic-*", 3), ("copy-*", 2), ("query-*", 1)):
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        while len(list(work.glob(what))) < num:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists()
    finished = {
        path: path.stat().st_mtime_ns
        for what in ("mimic-*", "copy-*", "innocent-*", "trigger-*", "query-*")
        for path in work.glob(what)
    }
    # Two radii shape queries, three set thresholds.
    assert len([path for path in finished if path.name.startswith("copy-hardened")]) == 5
    references = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("reference-*")}
    assert len(references) == 19
    again = run(*tiny_world.craft_arguments(out))
    assert "Went on from" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in references} == references
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert out.read_bytes() == tiny_world.bundle.read_bytes()


@pytest.mark.long
def test_a_toml_file_gives_the_same_bundle_and_options_override_it(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    out = tmp_path / "from-toml.kinprint"
    fields = {
        argument.removeprefix("--").split("=", 1)[0]: argument.split("=", 1)[1]
        for argument in tiny_world.craft_arguments(out)[1:]
    }
    names = {"triggers": "num_triggers", "queries": "num_queries"}
    lines = [f"{names.get(name, name)} = {json.dumps(value)}" for name, value in fields.items()]
    config = tmp_path / "craft.toml"
    config.write_text("\n".join([*lines, "seed = 5"]))
    assert run("craft", "--config", config, "--seed", "0").returncode == 0
    assert out.read_bytes() == tiny_world.bundle.read_bytes()


BAD_INPUT = {
    "weights: there is no file": {"weights": "missing.safetensors"},
    "does not fit": {"weights": "{wrong_shape}"},
    "reading it would run code of the file": {"weights": "{pickled}"},
    "model: bad_factory.py:broken raised ValueError: no luck": {"model": "{factory}:broken"},
    "to return a torch.nn.Module, got int": {"model": "{factory}:number"},
    "has no function 'nothing'": {"model": "{factory}:nothing"},
    "expected package.module:factory, file.py:factory": {"model": "{factory}"},
    "normalise: expected mean/std": {"normalise": "0.5"},
    "at least 2 class folders, found 1": {"images": "{one_class}"},
    "--skip-unreadable": {"images": "{unreadable}"},
    "expected one size": {"images": "{mixed}"},
    "class folder 'blue' is not one of": {"held_out": "{other_classes}", "images": "{two}"},
    "alpha: 0.01 needs at least 99 innocent calibration models": {
        "alpha": "0.01",
        "train_references": "4",
    },
    "num_probes: Input should be greater than or equal to 2": {"num_probes": "1"},
    "--classes blue,green,red": {"classes": "red,blue,green", "train_references": "0"},
    "out: there is no folder": {"out": "nowhere/x.kinprint"},
    "expected a CUDA device, torch finds none": {"device": "cuda"},
}


@pytest.fixture(scope="module")
def bad_things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")
    data = tiny_images(30, 3)
    places = {
        name: write_images(folder / name, data)
        for name in ("one_class", "unreadable", "mixed", "other_classes", "two")
    }
    for name in ("green", "red"):
        for path in (places["one_class"] / name).iterdir():
            path.unlink()
    for path in (places["two"] / "blue").iterdir():
        path.unlink()
    (places["unreadable"] / "red" / "x.png").write_bytes(b"no picture")
    mixed = tiny_images(3, 4).images[0, :6, :6]
    from PIL import Image

    Image.fromarray(mixed).save(places["mixed"] / "red" / "zz.png")
    factory = folder / "bad_factory.py"
    factory.write_text(
        "def broken():\n    raise ValueError('no luck')\n\n\ndef number():\n    return 3\n"
    )
    from worlds.tiny_task import tiny_net

    state = tiny_net().state_dict()
    torch.save({**state, "conv.weight": torch.zeros(4, 3, 3, 3)}, folder / "shape.pt")
    torch.save({"model": tiny_net()}, folder / "pickled.pt")  # a module, not tensors
    return {
        "factory": str(factory),
        "wrong_shape": str(folder / "shape.pt"),
        "pickled": str(folder / "pickled.pt"),
        **{name: str(path) for name, path in places.items()},
    }


@pytest.mark.parametrize("message", BAD_INPUT)
def test_bad_input_gives_one_sentence_exit_2_and_leaves_nothing(
    tiny_world: TinyWorld, bad_things: dict[str, str], tmp_path: Path, message: str
) -> None:
    changes = {name: value.format(**bad_things) for name, value in BAD_INPUT[message].items()}
    done = run(*tiny_world.craft_arguments(tmp_path / "x.kinprint", **changes))
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.kinprint*"))


def test_a_missing_option_is_named() -> None:
    done = run("craft", "--model", "x:y")
    assert done.returncode == 2
    assert "error: weights: expected --weights, or weights in the TOML file" in done.stderr


def test_state_dict_files_with_wrapper_prefixes_are_read(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from generator.sources.contract import InputContract
    from generator.sources.source import load_source, weights_digest

    state = load_file(tiny_world.folder / "source.safetensors")
    wrapped = tmp_path / "wrapped.pt"
    torch.save({"state_dict": {f"module.{name}": t for name, t in state.items()}}, wrapped)
    factory = f"{HERE / 'tiny_task.py'}:tiny_net"
    sources = [
        load_source(factory, path, InputContract(mean=(0.5,) * 3, std=(0.25,) * 3))
        for path in (tiny_world.folder / "source.safetensors", wrapped)
    ]
    assert weights_digest(sources[0].model) == weights_digest(sources[1].model)
    assert sources[1].weights_sha256 == hashlib.sha256(wrapped.read_bytes()).hexdigest()
