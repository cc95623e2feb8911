"""Checkpoints of the programs that people train with, and weights without counters."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from generator.errors import SourceError
from generator.sources.contract import InputContract
from generator.sources.source import Source, load_source

State = dict[str, Tensor]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))


OWN = network().state_dict()
Wrap = Callable[[State], object]


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


WRAPPED: dict[str, tuple[str, Wrap]] = {
    "plain": ("w.pt", lambda state: state),
    "kuangliu/pytorch-cifar": (
        "ckpt.pth",
        lambda state: {"net": prefixed(state, "module."), "acc": 95.2, "epoch": 199},
    ),
    "torchvision references": (
        "checkpoint.pth",
        lambda state: {
            "model": state,
            "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []},
            "epoch": 3,
            "args": argparse.Namespace(lr=0.1, amp=False),
        },
    ),
    "Lightning": (
        "epoch=3.ckpt",
        lambda state: {
            "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(3)},
            "optimizer_states": [],
            "pytorch-lightning_version": "2.6",
        },
    ),
    "torch.compile": ("w.pt", lambda state: prefixed(state, "_orig_mod.")),
    "compiled and parallel": ("w.pt", lambda state: prefixed(state, "module._orig_mod.")),
    "pytorch/examples imagenet": (
        "model_best.pth.tar",
        lambda state: {"state_dict": prefixed(state, "module."), "arch": "x", "best_acc1": 7.0},
    ),
    "DeepSpeed": ("mp_rank_00_model_states.pt", lambda state: {"module": state, "steps": 5}),
    "the only ones, whatever they are called": (
        "ema.pth",
        lambda state: {"ema_state_dict": prefixed(state, "module."), "decay": 0.999, "tags": {}},
    ),
    "transformers": ("pytorch_model.bin", lambda state: state),
    "trainer of one's own": (
        "w.pt",
        lambda state: {"epoch": 1, "model_state_dict": state, "loss": torch.tensor(0.3)},
    ),
}


def loaded(path: Path) -> Source:
    contract = InputContract(mean=(0.5,) * 3, std=(0.5,) * 3)
    return load_source(f"{Path(__file__)}:network", path, contract=contract)


@pytest.mark.parametrize("name", WRAPPED)
def test_the_weights_of_a_checkpoint_are_found(tmp_path: Path, name: str) -> None:
    file, wrap = WRAPPED[name]
    torch.save(wrap(dict(OWN)), tmp_path / file)
    found = loaded(tmp_path / file).model.network.state_dict()
    assert all(torch.equal(found[key], OWN[key]) for key in OWN)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_batch_norm_needs_no_counter(tmp_path: Path, suffix: str) -> None:
    old = {name: tensor for name, tensor in OWN.items() if "num_batches" not in name}
    path = tmp_path / f"old{suffix}"
    if suffix == ".pt":
        torch.save(old, path)
    else:
        safetensors.torch.save_file(old, path)
    found = loaded(path).model.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in old.items())


def test_weights_that_lack_anything_else_are_refused(tmp_path: Path) -> None:
    torch.save({n: t for n, t in OWN.items() if n != "1.running_mean"}, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"does not fit .*: missing 1.running_mean"):
        loaded(tmp_path / "w.pt")


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "args": "none"}, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"expected a state dict of tensors .* got 'epoch', 'arg"):
        loaded(tmp_path / "w.pt")


def test_weights_of_several_networks_are_named(tmp_path: Path) -> None:
    torch.save({"teacher": dict(OWN), "student": dict(OWN), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(
        SourceError, match=r"of one network .* got those of 'teacher', 'student'; save one of them"
    ):
        loaded(tmp_path / "w.pt")


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": dict(OWN), "hook": print}, tmp_path / "w.pt")
    with pytest.raises(SourceError, match="would run code of the file"):
        loaded(tmp_path / "w.pt")
