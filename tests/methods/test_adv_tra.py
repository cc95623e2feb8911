"""Trajectories where the boundary's place is known by hand, and what holds for any of them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from worlds.tiny_task import tiny_images, trained_net

from generator.crafting.fingerprint import Fingerprint, Pools
from generator.errors import GenerationError
from generator.methods.adv_tra import METHOD, TrajectoryOptions
from generator.sources.torch_suspect import predict_logits

SIDE, CHANNELS = 8, 3
NUM_PIXELS = SIDE * SIDE * CHANNELS
DISTANCE = 10.0
"""Levels that every pixel has to move until the boundary is reached."""
LENGTH = 6
DECAY = 0.95


class Plane(nn.Module):
    """Two classes; the boundary is the plane on which pixels lie 128 + 0.5 in the mean.

    Pixels whose sign is -1 count upside down.
    """

    def __init__(self, signs: NDArray[np.float64]) -> None:
        super().__init__()
        # [H, W, C] -> [C, H, W]
        weights = torch.tensor(signs.transpose(2, 0, 1), dtype=torch.float32)
        self.weights = nn.Parameter(weights)

    def forward(self, pixels: Tensor) -> Tensor:
        height = ((pixels * 255 - 128.5) * self.weights).mean(dim=(1, 2, 3))
        return torch.stack([-height, height], dim=1)


def plane(channels: int = CHANNELS) -> tuple[Plane, NDArray[np.float64]]:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (SIDE, SIDE, channels))
    return Plane(signs), signs


def carriers_at_the_distance(
    signs: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Six images below the plane and six above it, each at `DISTANCE` levels."""
    # 118.5 and 138.5 in the mean: half of the pixels one level lower than the other half.
    halves = np.where(np.arange(signs.size).reshape(signs.shape) % 2, 0.5, -0.5)
    below = 128.5 + signs * (-DISTANCE + halves)
    above = 128.5 + signs * (DISTANCE + halves)
    images = np.stack([below, above] * 6).round().astype(np.uint8)
    return images, np.array([0, 1] * 6)


def craft(
    source: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    num: int,
    seed: int = 0,
    **options: float,
) -> Fingerprint:
    return METHOD.craft(
        source,
        images,
        labels,
        Pools(),
        TrajectoryOptions(**options),  # type: ignore[arg-type]  # whole numbers where they must be
        num_images=num,
        rng=np.random.default_rng(seed),
    )


def test_a_trajectory_crosses_a_plane_at_its_middle_point_in_braking_steps() -> None:
    source, signs = plane()
    images, labels = carriers_at_the_distance(signs)
    made = craft(source, images, labels, 4, length=LENGTH, decay=DECAY)
    points = made.images.reshape(4, LENGTH, *images.shape[1:]).astype(float)
    starts = made.carriers.reshape(points.shape).astype(float)
    for number in range(4):
        own = made.labels[number * LENGTH]
        toward = signs if own == 0 else -signs
        moved = ((points[number] - starts[number]) * toward).mean(axis=(1, 2, 3))
        # Three steps a, 0.95 a, 0.9025 a reach 10 levels and two do not:
        # 10 / 2.8525 <= a < 10 / 1.95. A tenth of a level is left for rounding.
        assert 10 / 2.8525 - 0.1 <= moved[0] < 10 / 1.95 + 0.1
        assert moved[1] < DISTANCE <= moved[2] + 1e-9
        steps = np.diff(moved, prepend=0)
        expected = moved[0] * np.array([1, 0.95, 0.9025, 0.9025, 0.95, 1])
        assert steps == pytest.approx(expected, abs=0.2)
        assert made.labels.reshape(4, LENGTH)[number].tolist() == [own] * 2 + [1 - own] * 4


def test_steps_below_one_level_move_a_share_of_the_pixels() -> None:
    source, signs = plane()
    images, labels = carriers_at_the_distance(signs)
    made = craft(source, images, labels, 1, length=60, decay=1.0)
    # Thirty equal steps to 10 levels: between 10/30 and 10/29 of a level each.
    moved = np.abs(made.images.astype(float) - made.carriers).mean(axis=(1, 2, 3))
    assert np.diff(moved) == pytest.approx(np.full(59, 10 / 29.5), abs=0.15)
    assert (made.labels == [1 - made.labels[-1]] * 29 + [made.labels[-1]] * 31).all()


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


def test_points_are_the_target_from_the_middle_of_each_crossing_on(source: nn.Module) -> None:
    data = tiny_images(60, 5)
    made = craft(source, data.images, data.labels, 10, length=LENGTH)
    # Three classes: two crossings of six points each.
    labels = made.labels.reshape(10, 2, LENGTH)
    targets = labels[:, :, -1:]
    assert (labels[:, :, : LENGTH // 2 - 1] != targets).all()
    assert (labels[:, :, LENGTH // 2 - 1 :] == targets).all()
    own = predict_logits(source, made.carriers[:: 2 * LENGTH]).argmax(axis=1)
    visited = np.column_stack([own, targets[:, :, 0]])
    assert (np.sort(visited, axis=1) == [0, 1, 2]).all()
    assert made.groups.tolist() == [i for i in range(10) for _ in range(12)]


def test_the_source_follows_its_own_trajectories(source: nn.Module) -> None:
    data = tiny_images(60, 5)
    made = craft(source, data.images, data.labels, 10)
    assert (predict_logits(source, made.images).argmax(axis=1) == made.labels).all()
    stranger = trained_net(2, tiny_images(300, 2))
    assert (predict_logits(stranger, made.images).argmax(axis=1) == made.labels).mean() < 0.9


def test_the_next_crossing_begins_where_the_last_one_ended(source: nn.Module) -> None:
    data = tiny_images(60, 5)
    made = craft(source, data.images, data.labels, 10, length=LENGTH)
    points = made.images.reshape(10, 2 * LENGTH, -1).astype(int)
    from_last = np.abs(points[:, LENGTH] - points[:, LENGTH - 1]).max(axis=1)
    from_start = np.abs(points[:, LENGTH] - made.carriers[:: 2 * LENGTH].reshape(10, -1)).max(1)
    assert (from_last < from_start).all()


def test_the_same_seed_gives_the_same_trajectories(source: nn.Module) -> None:
    data = tiny_images(60, 5)
    first, again, other = (
        craft(source, data.images, data.labels, 3, seed=seed).images for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_progress_counts_crossings_and_never_goes_back(source: nn.Module) -> None:
    data = tiny_images(60, 5)
    seen: list[tuple[int, int]] = []
    METHOD.craft(
        source,
        data.images,
        data.labels,
        Pools(),
        TrajectoryOptions(),
        num_images=5,
        rng=np.random.default_rng(0),
        on_step=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (10, 10)


def test_grey_images_of_two_classes_make_trajectories_of_one_crossing() -> None:
    grey, signs = plane(channels=1)
    images, labels = carriers_at_the_distance(signs)
    made = craft(grey, images, labels, 3)
    assert made.images.shape == (3 * 6, SIDE, SIDE, 1)
    assert made.findings["points_per_trajectory"] == 6


class Gated(Plane):
    """A plane that no gradient leads to from images whose first pixel is white."""

    def forward(self, pixels: Tensor) -> Tensor:
        logits = super().forward(pixels)
        is_shut = (pixels[:, :1, 0, 0] == 1.0).float()
        return is_shut * logits.detach() + (1 - is_shut) * logits


def test_images_that_lead_nowhere_are_replaced_by_others() -> None:
    _, signs = plane()
    images, labels = carriers_at_the_distance(signs)
    images[:6, 0, 0, 0] = 255
    made = craft(Gated(signs), images, labels, 6, max_rounds=12)
    assert made.findings["trajectories"] == 6
    assert 6 < int(made.findings["trajectories_tried"]) <= 12
    assert (made.carriers[:, 0, 0, 0] != 255).all()


def test_a_source_without_gradients_gives_the_count_and_no_fingerprint() -> None:
    _, signs = plane()
    images, labels = carriers_at_the_distance(signs)
    images[:, 0, 0, 0] = 255
    with pytest.raises(GenerationError, match=r"none of 12 trajectories crosses .* 5 rounds"):
        craft(Gated(signs), images, labels, 4, max_rounds=5)


def test_a_source_near_chance_is_refused(source: nn.Module) -> None:
    data = tiny_images(120, 5)
    shuffled = np.random.default_rng(0).permutation(data.labels)
    with pytest.raises(GenerationError, match=r"source: .* near chance"):
        craft(source, data.images, shuffled, 4)


def test_no_clean_images_are_refused(source: nn.Module) -> None:
    data = tiny_images(3, 5)
    with pytest.raises(GenerationError, match="carriers: expected clean images, got none"):
        craft(source, data.images[:0], data.labels[:0], 4)


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("length", 5, "even number of points, got 5"),
        ("length", 0, "greater than or equal to 2"),
        ("num_classes", 1, "greater than or equal to 2"),
        ("decay", 1.5, "less than or equal to 1"),
        ("first_step", 0.0, "greater than 0"),
        ("max_rounds", 0, "greater than or equal to 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TrajectoryOptions(**{option: value})  # type: ignore[arg-type]  # that is the point
