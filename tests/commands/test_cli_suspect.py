"""From `kinprint probe` through its suspect file to the verdict of `kinprint audit --suspect`."""

import json
from pathlib import Path
from typing import Any, get_args

import click
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from worlds.in_process import Done, run
from worlds.tiny_task import MEAN, STD, tiny_net
from worlds.tiny_world import TinyWorld

from adapters.onnx.suspect import OutputKindChoice
from audit.commands.audit import command
from generator.sources.contract import InputContract
from generator.sources.onnx_export import export_onnx
from generator.sources.source import load_source

HERE = Path(__file__).parents[1] / "worlds"


def test_the_command_takes_every_kind_of_output_that_a_suspect_file_may_name() -> None:
    (option,) = (one for one in command.params if one.name == "output_kind")
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == get_args(OutputKindChoice)


class WantsBgrBytes(nn.Module):
    """The owner's network behind an input of BGR values between 0 and 255."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network((pixels.flip(1) / 255 - self.mean) / self.std)
        return logits


@pytest.fixture(scope="module")
def disguised(tiny_world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the owner's model that wants its images in another way."""
    weights = tiny_world.folder / "source.safetensors"
    factory = f"{HERE / 'tiny_task.py'}:{tiny_net.__name__}"
    source = load_source(factory, weights, contract=InputContract(mean=MEAN, std=STD))
    path: Path = tmp_path_factory.mktemp("disguised") / "disguised.onnx"
    export_onnx(WantsBgrBytes(source.model.network), path, image_shape=(12, 12, 3))
    return path


def probe(world: TinyWorld, path: Path, out: Path) -> Path:
    options = ["--onnx", path, "--bundle", world.bundle, "--trust", world.public_key, "--out", out]
    done = run("probe", *options)
    assert done.returncode == 0, done.stderr
    return out


def audit(world: TinyWorld, folder: Path, *arguments: str | Path) -> Done:
    trust = ("--trust", world.public_key)
    return run("audit", world.bundle, *trust, "--journal", folder / "j.sqlite", *arguments)


def test_a_disguised_copy_is_not_comparable_until_it_was_probed(
    tiny_world: TinyWorld, disguised: Path, tmp_path: Path
) -> None:
    plain = audit(tiny_world, tmp_path, "--onnx", disguised)
    assert plain.returncode == 15, plain.stdout + plain.stderr
    described = probe(tiny_world, disguised, tmp_path / "suspect.toml")
    probed = audit(tiny_world, tmp_path, "--suspect", described)
    assert probed.returncode == 10, probed.stdout + probed.stderr
    assert "derived" in probed.stdout


def test_several_suspect_files_are_one_document(
    tiny_world: TinyWorld, disguised: Path, tmp_path: Path
) -> None:
    copy = probe(tiny_world, disguised, tmp_path / "copy.toml")
    stranger = probe(tiny_world, tiny_world.folder / "stranger.onnx", tmp_path / "stranger.toml")
    done = audit(tiny_world, tmp_path, "--suspect", stranger, "--suspect", copy, "--json")
    told: list[dict[str, Any]] = json.loads(done.stdout)["audits"]
    assert done.returncode == 10, done.stderr
    assert [row["outcome"]["verdict"] for row in told] == ["independent", "derived"]
    assert [Path(row["suspect"]["path"]).name for row in told] == ["stranger.toml", "copy.toml"]
    assert told[1]["suspect"]["name"] == "disguised.onnx"
    assert json.loads(told[1]["suspect"]["details"]["preprocessing"])["color_order"] == "BGR"


def test_another_model_under_the_name_is_refused(
    tiny_world: TinyWorld, disguised: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "model.onnx"
    moved.write_bytes(disguised.read_bytes())
    described = probe(tiny_world, moved, tmp_path / "suspect.toml")
    moved.write_bytes((tiny_world.folder / "stranger.onnx").read_bytes())
    done = audit(tiny_world, tmp_path, "--suspect", described)
    assert done.returncode == 2, done.stderr
    assert "model.sha256: expected " in done.stderr
    assert "probe it anew" in done.stderr


def test_an_output_is_chosen_by_name(tiny_world: TinyWorld, tmp_path: Path) -> None:
    model = onnx.load(tiny_world.folder / "copy.onnx")
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["auxiliary"]))
    kind = helper.make_tensor_value_info("auxiliary", TensorProto.FLOAT, None)
    model.graph.output.append(kind)
    onnx.save(model, tmp_path / "two-heads.onnx")
    suspect = ("--onnx", tmp_path / "two-heads.onnx")
    unsaid = audit(tiny_world, tmp_path, *suspect)
    assert unsaid.returncode == 2
    assert "choose one with --output" in unsaid.stderr
    named = audit(tiny_world, tmp_path, *suspect, "--output", "logits", "--output-kind", "logits")
    assert named.returncode == 10, named.stderr


def test_an_output_belongs_to_an_onnx_file(
    tiny_world: TinyWorld, disguised: Path, tmp_path: Path
) -> None:
    described = tmp_path / "suspect.toml"
    described.write_text("not read")
    done = audit(tiny_world, tmp_path, "--suspect", described, "--output", "logits")
    assert done.returncode == 2
    assert "--output is for --onnx" in done.stderr
