"""Query detectors: scores by hand, the promised false-positive rate, and what they must find."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from worlds.tiny_task import tiny_images, trained_net

from benchmarks.arena.detectors.daeit import (
    NUM_TRANSFORMATIONS,
    ROTATIONS,
    SHIFTS,
    LabelStability,
    TransformationClassifier,
    transformed,
)
from benchmarks.arena.detectors.detection import Detector, evaluate
from benchmarks.arena.detectors.near_duplicates import NearDuplicates, block_means
from benchmarks.arena.detectors.scadn import SCADN, Painter, stripe_masks
from benchmarks.arena.detectors.she import SHE
from generator.crafting.ensemble import Ensemble
from generator.crafting.fingerprint import Pools
from generator.methods.adv_tra import TrajectoryOptions
from generator.methods.adv_tra import craft as craft_trajectories

Pixels = NDArray[np.uint8]


class Brightness:
    """Scores an image by its first pixel: what `evaluate` does with scores is known by hand."""

    def fit(self, model: nn.Module, images: Pixels, labels: NDArray[np.int64]) -> None:
        pass

    def scores(self, images: Pixels) -> NDArray[np.float64]:
        return images[:, 0, 0, 0].astype(np.float64)


def dots(*values: int) -> Pixels:
    return np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


def test_recall_counts_queries_above_what_so_many_clean_images_pass() -> None:
    # One clean image of a hundred may pass: the threshold is 98. A query of 99 beats 99 clean
    # images and ties with one (0.995), one of 50 beats 50 and ties with one (0.505).
    clean, queries = dots(*range(100)), dots(*[99] * 5, *[96] * 2, *[50] * 3)
    found = evaluate(Brightness(), clean, queries, num_draws=20)
    assert found.recall_at_1.value == 0.5
    assert found.recall_at_5.value == 0.7  # the threshold is 94
    assert found.auroc.value == pytest.approx((5 * 0.995 + 2 * 0.965 + 3 * 0.505) / 10)


def test_queries_of_one_group_stand_or_fall_together() -> None:
    clean, queries = dots(*range(100)), dots(*[200] * 20, *[0] * 20)
    alone = evaluate(Brightness(), clean, queries, num_draws=200)
    together = evaluate(Brightness(), clean, queries, np.repeat([0, 1], 20), num_draws=200)
    assert (together.recall_at_1.low, together.recall_at_1.high) == (0, 1)
    assert 0.2 < alone.recall_at_1.low < 0.5 < alone.recall_at_1.high < 0.8


def test_too_few_clean_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clean: expected at least 100 images .* got 99"):
        evaluate(Brightness(), dots(*range(99)), dots(1))


DETECTORS: dict[str, Callable[[], Detector]] = {
    "she": SHE,
    "she, two-sided": lambda: SHE(two_sided=True),
    "label stability": LabelStability,
    "transformation classifier": lambda: TransformationClassifier(max_images=100),
    "near-duplicates": NearDuplicates,
    "scadn": lambda: SCADN(width=4, num_steps=40),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_fresh_clean_images_pass_at_the_nominal_rate(model: nn.Module, name: str) -> None:
    detector, training = DETECTORS[name](), tiny_images(300, 1)
    detector.fit(model, training.images, training.labels)
    threshold = np.quantile(detector.scores(tiny_images(400, 20).images), 0.95)
    alarms = (detector.scores(tiny_images(400, 21).images) > threshold).mean()
    # Both shares have a standard error of 1.1 points, their difference one of 1.5.
    assert 0.005 <= alarms <= 0.095


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_are_the_same_every_time(model: nn.Module, name: str) -> None:
    training, queries = tiny_images(300, 1), tiny_images(30, 20).images
    answers = []
    for _ in range(2):
        detector = DETECTORS[name]()
        detector.fit(model, training.images, training.labels)
        answers.append(detector.scores(queries))
        assert (detector.scores(queries) == answers[-1]).all()
    assert (answers[0] == answers[1]).all()
    assert answers[0].shape == (30,)
    assert np.isfinite(answers[0]).all()


class Identity(nn.Module):
    """Two pixels are the features and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(2))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.linear(pixels.flatten(1))
        return logits


def pairs(*values: tuple[int, int]) -> Pixels:
    return np.array(values, dtype=np.uint8).reshape(-1, 1, 2, 1)


def test_energy_is_the_product_with_the_predicted_classes_mean_feature() -> None:
    # The last image is classified wrong and does not count: mu_0 = (150, 0), mu_1 = (0, 51).
    training = pairs((200, 0), (100, 0), (0, 51), (10, 250))
    labels = np.array([0, 0, 1, 0])
    detector = SHE()
    detector.fit(Identity(), training, labels)
    queries = pairs((255, 0), (0, 255), (255, 204))
    assert detector.scores(queries) == pytest.approx([-150 / 255, -51 / 255, -150 / 255])


def test_a_two_sided_energy_counts_in_deviations_from_the_classes_median() -> None:
    # Energies of class 0 in units of 150 / 255^2: 200 and 100, median 150, deviation 50.
    detector = SHE(two_sided=True)
    detector.fit(Identity(), pairs((200, 0), (100, 0)), np.array([0, 0]))
    assert detector.scores(pairs((255, 0), (150, 0), (45, 0))) == pytest.approx(
        [2.1, 0, 2.1], abs=1e-6
    )


def test_energy_needs_a_linear_layer_and_an_image_classified_right() -> None:
    with pytest.raises(ValueError, match="she: expected a model with a linear layer, found none"):
        SHE().fit(Reader(), np.zeros((1, 9, 9, 1), np.uint8), np.array([0]))
    with pytest.raises(ValueError, match="she: none of 1 training images is classified right"):
        SHE().fit(Identity(), pairs((200, 0)), np.array([1]))


class Reader(nn.Module):
    """Reads the pixel in the middle of 9 x 9: white is class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))

    def forward(self, pixels: Tensor) -> Tensor:
        height = self.gain * (pixels[:, 0, 4, 4] - 0.5)
        return torch.stack([-height, height], dim=1)


def test_shifts_move_the_picture_by_whole_pixels_and_rotations_about_the_middle() -> None:
    image = np.arange(2, 2 + 81, dtype=np.uint8).reshape(1, 9, 9, 1)
    moved = transformed(image)
    assert moved.shape == (NUM_TRANSFORMATIONS, 1, 9, 9, 1)
    by_shift = dict(zip(SHIFTS, moved[len(ROTATIONS) :, 0, :, :, 0], strict=True))
    assert (by_shift[1, 0][1:] == image[0, :-1, :, 0]).all()
    assert (by_shift[1, 0][0] == image[0, 0, :, 0]).all()  # the edge is repeated
    assert (by_shift[0, -3][:, :-3] == image[0, :, 3:, 0]).all()
    assert (moved[: len(ROTATIONS), 0, 4, 4, 0] == image[0, 4, 4, 0]).all()
    # 15 degrees turn a corner inwards, where 0 and 80 are not.
    assert not (moved[0] == image[0]).all()


def test_label_stability_counts_the_transforms_that_change_the_class() -> None:
    # Rotations keep the middle pixel, every shift moves black onto it.
    dot = np.zeros((1, 9, 9, 1), dtype=np.uint8)
    dot[0, 4, 4] = 255
    detector = LabelStability()
    detector.fit(Reader(), dot, np.array([1]))
    flat = np.full((1, 9, 9, 1), 255, dtype=np.uint8)
    score, calm = detector.scores(np.concatenate([dot, flat]))
    share = len(SHIFTS) / NUM_TRANSFORMATIONS
    assert share < score < share + 1 / NUM_TRANSFORMATIONS
    assert calm == 0


def adversarial(model: nn.Module, images: Pixels, labels: NDArray[np.int64]) -> Pixels:
    """Climb until most images are just across a boundary."""
    current = images.astype(np.int16)
    for _ in range(6):
        _, signs = Ensemble([model]).losses_and_gradients(current.astype(np.uint8), labels)
        current = np.clip(current + signs, 0, 255)
    return current.astype(np.uint8)


@pytest.mark.parametrize("name", ["label stability", "transformation classifier"])
def test_adversarial_images_stand_out_by_their_transforms(model: nn.Module, name: str) -> None:
    training, fresh = tiny_images(300, 1), tiny_images(150, 30)
    detector = DETECTORS[name]()
    detector.fit(model, training.images, training.labels)
    attacks = adversarial(model, fresh.images, fresh.labels)
    found = evaluate(detector, tiny_images(150, 31).images, attacks, num_draws=20)
    assert found.auroc.value > 0.6


def test_the_classifier_needs_images_classified_right_and_attacks_that_succeed() -> None:
    images, labels = np.full((4, 9, 9, 1), 255, np.uint8), np.ones(4, np.int64)
    with pytest.raises(ValueError, match="daeit: none of 4 training images is classified right"):
        TransformationClassifier().fit(Reader(), images, 1 - labels)
    with pytest.raises(ValueError, match="daeit: none of 4 attacks within 8 levels changes"):
        TransformationClassifier().fit(Reader(), images, labels)


def test_a_planted_near_duplicate_is_the_most_suspicious_query() -> None:
    images = tiny_images(200, 5).images.copy()
    noise = np.random.default_rng(0).integers(-2, 3, images[17].shape)
    images[150] = np.clip(images[17] + noise, 0, 255)
    scores = NearDuplicates().scores(images)
    assert scores.argmax() == 150
    assert scores[150] > 2 * np.sort(scores)[-2]  # scores are negative: half as far as any other


def test_a_query_is_compared_with_earlier_ones_only() -> None:
    # Flat images of 10, 14 and 20 levels: 14 is 4 from 10; 20 is 6 from 14 and 10 from 10.
    assert NearDuplicates().scores(dots(10, 14, 20)).tolist() == [-255, -4, -6]
    two = NearDuplicates(num_neighbours=2).scores(dots(10, 14, 20, 20))
    assert two.tolist() == [-255, -4, -8, -3]  # 20 is 0 from 20 and 6 from 14


def test_many_queries_are_compared_across_blocks() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1100, 2, 2, 1), dtype=np.uint8)
    images[1050] = images[3]
    scores = NearDuplicates().scores(images)
    assert scores[1050] == 0
    codes = images.reshape(1100, -1).astype(float)
    nearest = np.sqrt(((codes[:700] - codes[700]) ** 2).mean(axis=1)).min()
    assert scores[700] == pytest.approx(-nearest)


def test_block_means_cover_images_that_blocks_do_not_divide() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    # Edges at 0 and 1: one row or column, then two.
    assert block_means(image, 2).tolist() == [[0, 1.5, 4.5, 6]]
    assert block_means(image, 8).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8]]


def test_trajectories_are_near_duplicates_and_clean_images_are_not(model: nn.Module) -> None:
    data = tiny_images(60, 5)
    made = craft_trajectories(
        model,
        data.images,
        data.labels,
        Pools(),
        TrajectoryOptions(),
        num_images=10,
        rng=np.random.default_rng(0),
    )
    detector = NearDuplicates()
    detector.fit(model, data.images, data.labels)
    clean = tiny_images(len(made.images), 40).images
    found = evaluate(detector, clean, made.images, made.groups, num_draws=50)
    # Only the first point of each trajectory has no predecessor nearby.
    assert found.recall_at_1.value == pytest.approx(1 - 10 / len(made.images), abs=0.02)


def test_neighbours_and_blocks_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="near-duplicates: expected side and num_neighbours"):
        NearDuplicates(num_neighbours=0)


def gradients(num: int, seed: int, size: int = 16) -> Pixels:
    """Smooth slopes of brightness, which stripes can be filled in from."""
    rng = np.random.default_rng(seed)
    start, down, right = rng.uniform(-60, 60, (3, num, 1, 1, 3))
    along = np.linspace(-1, 1, size)
    smooth = 128 + start + down * along[:, None, None] + right * along[:, None]
    return np.asarray(smooth.clip(0, 255).astype(np.uint8))


def test_stripes_of_every_scale_hide_each_pixel_twice() -> None:
    for scale in (2, 4, 8):
        masks = stripe_masks(12, 8, scale)
        assert masks.shape == (4, 12, 8)
        assert (masks.sum(dim=0) == 2).all()
        # Every other stripe is hidden, the first one included.
        assert masks[2, 0].tolist() == [1 - (x * scale // 8) % 2 for x in range(8)]


def test_the_painter_does_not_see_what_is_hidden() -> None:
    torch.manual_seed(0)
    painter = Painter(1, 2)
    mask = stripe_masks(10, 10, 2)[:1]
    seen = torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    other = torch.where(mask[:, None] == 1, 1 - seen, seen)
    assert torch.equal(painter(seen, mask), painter(other, mask))
    assert not torch.equal(painter(seen, mask), painter(1 - seen, mask))


def test_what_cannot_be_filled_in_from_its_surroundings_stands_out() -> None:
    detector, normal = SCADN(width=4, num_steps=150), gradients(100, 0)
    detector.fit(Identity(), normal, np.zeros(100, dtype=np.int64))
    noisy = gradients(100, 2).astype(int) + np.random.default_rng(3).integers(-90, 91, normal.shape)
    queries = noisy.clip(0, 255).astype(np.uint8)
    found = evaluate(detector, gradients(100, 1), queries, num_draws=20)
    assert found.auroc.value > 0.9


def test_filling_in_takes_some_images_to_learn_from() -> None:
    with pytest.raises(ValueError, match="scadn: expected at least 10 training images, got 9"):
        SCADN().fit(Identity(), gradients(9, 0), np.zeros(9, dtype=np.int64))
