"""Blocks of crafted images: finished once, kept whole, taken up by nobody else."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from generator.crafting.descent import DescentSettings, descend
from generator.crafting.kept_blocks import KeptBlocks, descend_in_blocks, objective_digest

SETTINGS = DescentSettings(radius=8, max_steps=20)
GOALS = np.zeros(20, dtype=np.int64)


def carriers() -> NDArray[np.uint8]:
    # 128 pixels a side: a block is the least, 8 images, so that 20 make three.
    draws = np.random.default_rng(1)
    return draws.integers(0, 256, size=(20, 128, 128, 1), dtype=np.uint8)


class Darker:
    """Minimises brightness, and counts how many images it was asked about."""

    def __init__(self) -> None:
        self.num_asked = 0

    def __call__(
        self, images: NDArray[np.uint8], goals: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        self.num_asked += len(images)
        return images.mean(axis=(1, 2, 3)), np.ones(images.shape, dtype=np.int16)


def test_blocks_are_what_one_descent_is_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    kept = KeptBlocks(tmp_path, "query", "digest")
    whole = descend(Darker(), carriers(), GOALS, SETTINGS)
    first, second = Darker(), Darker()
    steps: list[tuple[int, int]] = []
    made = descend_in_blocks(
        first, carriers(), GOALS, SETTINGS, kept=kept, on_step=lambda *at: steps.append(at)
    )
    again = descend_in_blocks(second, carriers(), GOALS, SETTINGS, kept=kept)
    assert len(list(tmp_path.glob("query-*.safetensors"))) == 3
    assert first.num_asked > 0
    assert second.num_asked == 0
    for found in (made, again):
        np.testing.assert_array_equal(found.images, whole.images)
        np.testing.assert_array_equal(found.losses, whole.losses)
        np.testing.assert_array_equal(found.steps, whole.steps)
    assert steps == sorted(steps)
    assert steps[-1] == (20, 20)


def test_only_the_block_that_is_missing_cut_or_about_other_images_is_made(tmp_path: Path) -> None:
    kept = KeptBlocks(tmp_path, "query", "digest")
    images = carriers()
    made = descend_in_blocks(Darker(), images, GOALS, SETTINGS, kept=kept)
    path = kept.path(images[8:16], GOALS[8:16])
    path.write_bytes(path.read_bytes()[:-100])
    again = Darker()
    found = descend_in_blocks(again, images, GOALS, SETTINGS, kept=kept)
    np.testing.assert_array_equal(found.images, made.images)
    alone = Darker()
    descend(alone, images[8:16], GOALS[8:16], SETTINGS)
    assert again.num_asked == alone.num_asked
    images[19] = 255 - images[19]
    changed = Darker()
    descend_in_blocks(changed, images, GOALS, SETTINGS, kept=kept)
    assert changed.num_asked > 0


def test_no_images_make_none() -> None:
    made = descend_in_blocks(Darker(), carriers()[:0], GOALS[:0], SETTINGS, kept=None)
    assert made.images.shape == (0, 128, 128, 1)


@pytest.mark.parametrize("change", ["weights", "order", "settings", "more", "layers"])
def test_a_digest_knows_everything_that_a_descent_depends_on(change: str) -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    before = objective_digest([[first], [second]], SETTINGS, [1])
    groups: list[list[nn.Module]] = [[first], [second]]
    settings, more = SETTINGS, [1]
    if change == "weights":
        second.weight.data[0, 0] += 1
    elif change == "order":
        groups = [[second], [first]]
    elif change == "settings":
        settings = DescentSettings(radius=8, max_steps=21)
    elif change == "more":
        more = [2]
    else:
        groups = [[first], [nn.Sequential(second)]]
    assert objective_digest(groups, settings, more) != before
