"""What is finished is kept, belongs to its run, and is nobody else's while it grows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from worlds.in_process import run
from worlds.tiny_task import MEAN, STD, TinyNet, tiny_images, tiny_net, trained_net
from worlds.tiny_world import TinyWorld

from generator.errors import GenerationError
from generator.jobs.work_folder import usual_work_folder, work_folder
from generator.pools.references import train_references
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source
from generator.training.checkpoints import run_digest, store

DATA = tiny_images(60, 1)


def source() -> Source:
    return Source(
        model=trained_net(1, DATA),
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="0" * 64,
        contract=InputContract(mean=MEAN, std=STD),
    )


class Quieter(TinyNet):
    """The same weights, another function."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 2


class Wetter(TinyNet):
    """The same weights and answers, another training."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)


def test_a_checkpoint_belongs_to_weights_code_preprocessing_settings_and_images() -> None:
    def digest(network: nn.Module, std: tuple[float, ...] = STD, order: str = "RGB") -> str:
        network.load_state_dict(state)
        model = Normalised(network, MEAN, std, order)  # type: ignore[arg-type]
        return run_digest(model.eval(), DATA, [1])

    state = tiny_net().state_dict()
    plain = Normalised(tiny_net(), MEAN, STD).eval()
    plain.network.load_state_dict(state)
    digests = [
        digest(tiny_net()),
        digest(Quieter()),
        digest(Wetter()),
        digest(tiny_net(), (0.5,) * 3),
        digest(tiny_net(), order="BGR"),
        run_digest(plain, DATA, [2]),
        run_digest(plain, DATA.take(np.arange(59)), [1]),
    ]
    assert len(set(digests)) == len(digests)
    assert run_digest(plain, DATA, [1]) == digests[0]
    state = tiny_net().state_dict()
    assert digest(tiny_net()) not in digests


def test_a_reference_that_learns_nothing_is_tried_milder_and_then_replaced() -> None:
    asked: list[Tensor] = []
    told: list[str] = []

    def judge(model: nn.Module) -> float:
        weight = next(model.parameters()).detach().clone()
        seen = next((i for i, one in enumerate(asked) if torch.equal(one, weight)), None)
        if seen is None:
            seen = len(asked)
            asked.append(weight)
        # Nothing is learnt by the first network, nor by it at a quarter of the rate, nor by the
        # second one's first try.
        return 0.9 if seen >= 3 else 0.2

    found = train_references(
        source(),
        DATA,
        num_references=2,
        epochs=1,
        learning_rate=0.02,
        seed=0,
        judge=judge,
        floor=0.5,
        tell=told.append,
    )
    assert [one.name for one in found] == ["reference-01", "reference-02"]
    assert found[0].provenance.endswith("at 0.25 of the rate")
    assert not found[1].provenance.endswith("of the rate")
    assert told == [
        "reference-00 (same recipe) learnt too little: 20% right, expected 50%; another one takes "
        "its place."
    ]


def test_nothing_but_bad_ones_ends() -> None:
    found = train_references(
        source(),
        DATA,
        num_references=1,
        epochs=1,
        learning_rate=0.02,
        seed=0,
        judge=lambda model: 0.0,
        floor=0.5,
    )
    assert found == []


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    place = tmp_path / "a" / "work"
    with (
        work_folder(place),
        pytest.raises(GenerationError, match=r"another run is at work in .*--work"),
        work_folder(place),
    ):
        pass
    with work_folder(place), work_folder(place, is_locked=False):
        pass
    assert usual_work_folder(Path("x/model.kinprint")) == Path("x/model.work")


def test_a_second_craft_is_refused(tiny_world: TinyWorld, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with work_folder(tmp_path / "work"):
        done = run(*tiny_world.craft_arguments(tmp_path / "x.kinprint"))
    assert done.returncode == 2
    assert "error: work: another run is at work in" in done.stderr


def test_a_disk_without_room_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    model = trained_net(1, DATA)
    with pytest.raises(GenerationError, match=r"work: cannot write .*finished models are kept"):
        store(model, tmp_path / "nowhere" / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(GenerationError, match="work: cannot write to"),
        work_folder(tmp_path / "file"),
    ):
        pass
