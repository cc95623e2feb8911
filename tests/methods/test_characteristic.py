"""Noise driven into classes: known corners, frequencies below the cut, changed weights."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import fft
from torch import Tensor, nn
from worlds.tiny_task import tiny_images, trained_net

from benchmarks.arena.uniqueness import uniqueness_score
from generator.crafting import characteristic_descent
from generator.crafting.characteristic_descent import CharacteristicOptions, loss_and_gradient
from generator.crafting.fingerprint import Fingerprint, Pools
from generator.errors import GenerationError
from generator.methods.known_methods import load_method
from generator.methods.low_transfer_characteristic import high_frequencies
from generator.pools.removal import add_weight_noise
from generator.sources.torch_suspect import predict_logits
from generator.training.device import seeded
from generator.training.loop import to_unit_interval

METHODS = ["c-examples", "rc-examples", "ltrc-examples"]
QUICK = {"goal_loss": 0.2, "max_steps": 40}
"""Goal that the tiny source reaches in a few steps."""


class Linear(nn.Module):
    """Two classes whose loss falls along known signs, so gently that it never gets small."""

    def __init__(self, signs: NDArray[np.float64]) -> None:
        super().__init__()
        # [H, W, C] -> [C, H, W]
        weights = torch.tensor(signs.transpose(2, 0, 1) * 1e-3, dtype=torch.float32)
        self.linear = nn.Linear(signs.size, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(weights.reshape(1, -1))

    def forward(self, pixels: Tensor) -> Tensor:
        height: Tensor = self.linear(pixels.flatten(1) - 0.5)
        return torch.cat([-height, height], dim=1)


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


def craft(
    method: str,
    source: nn.Module,
    num: int,
    options: Mapping[str, float],
    *,
    shape: tuple[int, int, int] = (12, 12, 3),
    seed: int = 0,
) -> Fingerprint:
    chosen = load_method(method)
    return chosen.craft(
        source,
        np.zeros((1, *shape), dtype=np.uint8),
        np.zeros(1, dtype=np.int64),
        Pools(),
        chosen.options(**options),
        num_images=num,
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_moves_to_the_corner_of_the_ball_that_the_gradient_points_to(channels: int) -> None:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (4, 4, channels))
    # A radius of 70 levels moves the sum of 16 or 48 pixels further than the noise had put it.
    made = craft("c-examples", Linear(signs), 6, {"radius": 70, "step": 8}, shape=(4, 4, channels))
    moved = made.images.astype(int) - made.carriers
    toward = np.where(made.labels == 1, 1, -1)[:, None, None, None] * signs
    assert (moved == 70 * toward).all()
    assert sorted(made.labels.tolist()) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_the_source_puts_every_example_into_its_class_and_classes_are_balanced(
    source: nn.Module, method: str
) -> None:
    made = craft(method, source, 12, {**QUICK, "radius": 60})
    assert (predict_logits(source, made.images).argmax(axis=1) == made.labels).all()
    assert np.bincount(made.labels).tolist() == [4, 4, 4]
    assert made.groups.tolist() == list(range(12))


@pytest.mark.parametrize("method", METHODS)
def test_examples_stay_within_the_radius_of_their_noise(source: nn.Module, method: str) -> None:
    made = craft(method, source, 6, {**QUICK, "radius": 9})
    moved = np.abs(made.images.astype(int) - made.carriers)
    assert 1 <= moved.max() <= 9


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_examples(source: nn.Module, method: str) -> None:
    first, again, other = (
        craft(method, source, 2, {**QUICK, "radius": 60}, seed=seed).images for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_robust_examples_survive_weight_noise_that_plain_ones_do_not(source: nn.Module) -> None:
    # Both stop at the same loss; the robust one is that of disturbed weights.
    options = {"radius": 32, "goal_loss": 0.1}
    copies = [add_weight_noise(source, 0.6, generator=seeded(0, "copy", i)) for i in range(20)]
    rates = {}
    for method, more in (("c-examples", {}), ("rc-examples", {"delta": 1.0})):
        made = craft(method, source, 60, {**options, **more})
        answers = np.stack([predict_logits(copy, made.images).argmax(axis=1) for copy in copies])
        rates[method] = (answers == made.labels).mean()
    assert rates["rc-examples"] > rates["c-examples"] + 0.03


def test_large_batches_are_computed_in_parts_with_the_same_result(
    source: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_images(10, 3)
    pixels, goals = to_unit_interval(torch.from_numpy(data.images)), torch.from_numpy(data.labels)
    whole_loss, whole_gradient = loss_and_gradient(source, pixels, goals)
    limit = 4 * 4 * 3 * 12 * 12  # four images
    monkeypatch.setattr(characteristic_descent, "MAX_TRAINING_BYTES", limit)
    loss, gradient = loss_and_gradient(source, pixels, goals)
    assert torch.allclose(loss, whole_loss, atol=1e-6)
    assert torch.allclose(gradient, whole_gradient, atol=1e-6)
    assert gradient.shape == pixels.shape


def test_crafting_leaves_the_sources_weights_alone(source: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    craft("rc-examples", source, 3, QUICK)
    assert all(torch.equal(before[n], t) for n, t in source.state_dict().items())
    assert all(parameter.requires_grad for parameter in source.parameters())


def low_energy(made: Fingerprint, cut: float) -> NDArray[np.float64]:
    """Energy of each perturbation below the cut, per coefficient there, in squared levels."""
    moved = made.images.astype(float) - made.carriers
    coefficients = fft.dctn(moved, axes=(1, 2), norm="ortho")
    lowest = ~high_frequencies(moved.shape[1], moved.shape[2], cut)
    return np.asarray((coefficients[:, lowest] ** 2).mean(axis=(1, 2)))


def test_low_transfer_examples_hold_nothing_below_the_cut_but_rounding(source: nn.Module) -> None:
    made = craft("ltrc-examples", source, 9, {**QUICK, "cut": 0.3})
    # An even rounding error within half a level has a variance of 1/12 at every frequency.
    assert (low_energy(made, 0.3) < 2 / 12).all()
    assert low_energy(craft("rc-examples", source, 9, QUICK), 0.3).mean() > 10


def test_the_lowest_frequencies_are_those_of_the_corner() -> None:
    # i / 3 + j / 3: sums 0, 1, 1 and one of the three sums 2 make 4 of 9.
    kept = high_frequencies(3, 3, 4 / 9)
    assert kept.tolist() == [[False, False, False], [False, True, True], [True, True, True]]
    assert high_frequencies(3, 3, 0.0).all()


class Stubborn(nn.Module):
    """Answers class 1 whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, pixels: Tensor) -> Tensor:
        height = self.slope * pixels.mean(dim=(1, 2, 3)) - 1
        return torch.stack([height, -height], dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_classes_that_cannot_be_reached_leave_fewer_examples(method: str) -> None:
    made = craft(method, Stubborn(), 10, {"max_steps": 3})
    assert made.labels.tolist() == [1] * 5
    assert made.findings["images"] == 5
    assert made.findings["images_drawn"] == 10 + 5 + 5


@pytest.mark.parametrize("method", METHODS)
def test_a_source_that_can_be_led_nowhere_gives_the_count_and_no_fingerprint(method: str) -> None:
    with pytest.raises(GenerationError, match=r"none of 3 noise images into its class .* 3 steps"):
        craft(method, Stubborn(), 1, {"max_steps": 3})  # the one example is to be class 0


def test_an_image_that_shows_the_size_is_needed(source: nn.Module) -> None:
    chosen = load_method("c-examples")
    nothing = np.zeros((0, 12, 12, 3), dtype=np.uint8)
    with pytest.raises(GenerationError, match="carriers: expected an image that shows the size"):
        chosen.craft(
            source,
            nothing,
            np.zeros(0, dtype=np.int64),
            Pools(),
            CharacteristicOptions(),
            num_images=4,
            rng=np.random.default_rng(0),
        )


@pytest.mark.parametrize(
    ("method", "option", "value", "complaint"),
    [
        ("c-examples", "radius", 128.0, "less than or equal to 100"),
        ("c-examples", "goal_loss", 0.0, "greater than 0"),
        ("c-examples", "max_steps", 0, "greater than or equal to 1"),
        ("rc-examples", "delta", 0.0, "greater than 0"),
        ("rc-examples", "num_copies", 0, "greater than or equal to 1"),
        ("ltrc-examples", "cut", 1.0, "less than 1"),
        ("c-examples", "delta", 0.1, "Extra inputs are not permitted"),
    ],
)
def test_options_out_of_range_are_refused(
    method: str, option: str, value: float, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        load_method(method).options(**{option: value})


def test_uniqueness_is_robustness_minus_transferability() -> None:
    # Pruned: (1.0 + 0.9 + 0.5) / 3 = 0.8; strangers: (0.1 + 0.3) / 2 = 0.2.
    score, robustness, transferability = uniqueness_score(
        np.array([1.0, 0.9, 0.5]), np.array([0.1, 0.3])
    )
    assert robustness == pytest.approx(0.8)
    assert transferability == pytest.approx(0.2)
    assert score == pytest.approx(0.6)


def test_uniqueness_of_what_knows_strangers_better_than_its_own_is_negative() -> None:
    assert uniqueness_score(np.zeros(2), np.ones(5))[0] == -1


@pytest.mark.parametrize(
    ("pruned", "unassociated", "complaint"),
    [
        ([], [0.1], "pruned: expected at least 1 matching rate, got none"),
        ([1.0], [], "unassociated: expected at least 1 matching rate, got none"),
        ([1.0, 1.2], [0.1], r"pruned: expected matching rates in \[0, 1\]"),
        ([1.0], [float("nan")], r"unassociated: expected matching rates in \[0, 1\]"),
    ],
)
def test_uniqueness_of_something_else_than_rates_is_refused(
    pruned: list[float], unassociated: list[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        uniqueness_score(np.array(pruned), np.array(unassociated))


def test_low_transfer_examples_fool_strangers_less_often(source: nn.Module) -> None:
    # What tells the classes of this task apart is the mean colour, the lowest frequency of all.
    strangers = [trained_net(seed, tiny_images(300, seed)) for seed in (2, 3, 4)]
    rates = {}
    for method in ("rc-examples", "ltrc-examples"):
        made = craft(method, source, 30, QUICK)
        answers = np.stack([predict_logits(m, made.images).argmax(axis=1) for m in strangers])
        rates[method] = (answers == made.labels).mean()
    assert rates["ltrc-examples"] < rates["rc-examples"] - 0.1
