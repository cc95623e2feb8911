"""A change that ruins a copy is made again, more mildly, and called so."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn
from worlds.tiny_task import tiny_images, trained_net

from generator.pools.copies import CopyImages, MadeCopies, make_copies
from generator.pools.preconditions import accuracy_of

CONTROLS = tiny_images(90, 5)
IMAGES = CopyImages(tuning=tiny_images(60, 3), training=tiny_images(96, 1))


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


def made(
    source: nn.Module, is_good: Callable[[nn.Module], bool], work: Path | None = None
) -> MadeCopies:
    mimic = trained_net(2, tiny_images(60, 1))
    return make_copies(
        source, [mimic], IMAGES, seed=0, hardening_epochs=1, is_good=is_good, work=work
    )


def names(copies: MadeCopies) -> list[str]:
    return [model.name for model in (*copies.selection, *copies.calibration)]


def test_copies_that_are_good_are_what_they_were(source: nn.Module) -> None:
    first = made(source, lambda model: True)
    assert not [name for name in names(first) if "mild" in name]
    assert first.hardening_rate == 0.02


def test_ruined_copies_are_made_again_until_they_are_good(source: nn.Module) -> None:
    before = accuracy_of(source, CONTROLS)
    floor = 0.9 * before
    plain = made(source, lambda model: True)
    ruined = {
        model.name
        for model in (*plain.selection, *plain.calibration)
        if model.network is not None
        and accuracy_of(model.network, CONTROLS) < floor
        # A snapshot of another pool is what it is.
        and not model.name.startswith("mimic")
    }
    assert ruined
    again = made(source, lambda model: accuracy_of(model, CONTROLS) >= floor)
    called = names(again)
    for name in names(plain):
        # Hardened copies of several radii are made in one go, and again in one go.
        if name in ruined and not name.startswith("hardened"):
            assert name not in called
            assert {f"{name}-milder", f"{name}-mildest"} & set(called)
    better = {
        model.name.split("-mild")[0]: accuracy_of(model.network, CONTROLS)
        for model in (*again.selection, *again.calibration)
        if model.network is not None
    }
    worse = {
        model.name: accuracy_of(model.network, CONTROLS)
        for model in (*plain.selection, *plain.calibration)
        if model.network is not None
    }
    assert sum(better[name] for name in ruined) > sum(worse[name] for name in ruined)
    digests = [one.weights_sha256 for one in (*again.selection, *again.calibration)]
    assert len(set(digests)) == len(digests)


def test_the_mildest_is_the_end_of_it_and_pairs_are_hardened_alike(source: nn.Module) -> None:
    changed = made(source, lambda model: model is source)
    told = names(changed)
    assert {name for name in told if not name.endswith("-mildest")} == {
        *("source", "mimic-0", "half"),
    }
    assert changed.hardening_rate == 0.02 / 16


def test_what_was_milder_is_kept_too(source: nn.Module, tmp_path: Path) -> None:
    def is_good(model: nn.Module) -> bool:
        return accuracy_of(model, CONTROLS) >= 0.9 * accuracy_of(source, CONTROLS)

    first = made(source, is_good, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = made(source, is_good, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert names(first) == names(second)
    assert [one.weights_sha256 for one in first.calibration] == [
        one.weights_sha256 for one in second.calibration
    ]
