"""Several processes make the same as one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from worlds.in_process import run
from worlds.rank_worker import shared_work
from worlds.tiny_task import NORMALISE
from worlds.tiny_world import TinyWorld

from audit.api import open_bundle
from generator.training.ranks import Ranks, current_ranks, together

TESTS = Path(__file__).parents[1]
HERE = TESTS / "worlds"


def torchrun(*arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes)),
        *map(str, arguments),
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        env={
            **os.environ,
            "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}",
            "OMP_NUM_THREADS": "1",
        },
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(HERE / "rank_worker.py", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float64]]:
    return shared_work(tmp_path_factory.mktemp("alone"))


def test_every_process_ends_with_the_same_models_as_one_that_is_alone(
    shared: Path, alone: dict[str, NDArray[np.float64]]
) -> None:
    for rank in (0, 1):
        found = load_file(shared / f"{rank}.safetensors")
        assert set(found) == set(alone)
        for name in alone:
            if not name.endswith(("losses", "signs")):
                np.testing.assert_array_equal(found[name], alone[name], name)


@pytest.mark.parametrize("kind", ["triggers", "contrast", "one-model"])
def test_gradients_of_a_shared_pool_are_those_of_the_whole(
    shared: Path, alone: dict[str, NDArray[np.float64]], kind: str
) -> None:
    first, second = (load_file(shared / f"{rank}.safetensors") for rank in (0, 1))
    losses, signs = f"{kind}-losses", f"{kind}-signs"
    np.testing.assert_array_equal(first[losses], second[losses])
    np.testing.assert_array_equal(first[signs], second[signs])
    np.testing.assert_allclose(first[losses], alone[losses], rtol=1e-5)
    # A sum in another order may turn the sign of what is nearly zero.
    assert np.mean(first[signs] == alone[signs]) > 0.999


@pytest.mark.long
def test_two_processes_craft_one_bundle(tiny_world: TinyWorld, tmp_path: Path) -> None:
    out = tmp_path / "shared.kinprint"
    done = torchrun("-m", "kinprint", *tiny_world.craft_arguments(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"  # one process speaks
    made = open_bundle(out, trust=[tiny_world.public_key])
    alone = open_bundle(tiny_world.bundle, trust=[tiny_world.public_key])
    assert [one.weights_sha256 for one in made.manifest.models] == [
        one.weights_sha256 for one in alone.manifest.models
    ]
    assert made.arrays.queries.shape == alone.arrays.queries.shape


@pytest.mark.long
def test_two_processes_make_the_references_of_one(tiny_world: TinyWorld, tmp_path: Path) -> None:
    shared, alone = tmp_path / "shared", tmp_path / "alone"
    options = [
        *("--model", f"{HERE / 'tiny_task.py'}:tiny_net", "--normalise", NORMALISE),
        *("--weights", tiny_world.folder / "source.safetensors"),
        *("--images", tiny_world.folder / "train", "--num-references", "2", "--epochs", "1"),
    ]
    done = torchrun("-m", "kinprint", "references", *options, "--out", shared)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{shared}\n"
    assert run("references", *options, "--out", alone).returncode == 0

    def weights(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*.safetensors")
        }

    assert len(weights(alone)) == 2
    assert weights(shared) == weights(alone)
    listings = [(folder / "references.toml").read_text("utf-8") for folder in (shared, alone)]
    assert listings[0] == listings[1]


def test_shares_are_disjoint_and_leave_nobody_out() -> None:
    parts = [Ranks(rank=rank, size=3).mine(range(8)) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert [Ranks(size=3).owner(number) for number in range(4)] == [0, 1, 2, 0]


def test_a_process_that_nobody_started_with_others_is_alone() -> None:
    with together("auto") as ranks:
        assert ranks == current_ranks() == Ranks(rank=0, size=1)
