"""The source behind servers that change images, and among other models."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from worlds.linear_model import LinearModel
from worlds.tiny_task import tiny_images, trained_net

from generator.pools.copies import CopyImages, make_copies
from generator.pools.deployments import Deployed, Together, make_deployments
from generator.pools.input_changes import (
    as_it_is,
    blur,
    jpeg,
    median,
    mirrored,
    noisy,
    resized,
    shifted,
)

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "jpeg": jpeg(60),
    "blur": blur(0.7),
    "median": median(is_cross=False),
    "cross": median(is_cross=True),
    "smaller": resized(0.7),
    "larger": resized(1.5),
    "noise": noisy(6, 0),
    "mirrored": mirrored,
    "shifted": shifted,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_server_hands_on_images_of_the_same_size(name: str, channels: int) -> None:
    pixels = torch.rand((4, channels, 12, 10), generator=torch.Generator().manual_seed(0))
    changed = CHANGES[name](pixels)
    assert changed.shape == pixels.shape
    assert not torch.equal(changed, pixels)
    # Whoever repeats a run sees what the first one saw.
    assert torch.equal(changed, CHANGES[name](pixels))


def test_filters_keep_flat_images_and_take_a_single_bright_pixel_away() -> None:
    flat = torch.full((1, 3, 9, 9), 0.4)
    spike = flat.clone()
    spike[0, :, 4, 4] = 1.0
    for name in ("blur", "median", "cross", "smaller", "larger"):
        assert torch.allclose(CHANGES[name](flat), flat, atol=1e-6), name
        assert float(CHANGES[name](spike)[0, 0, 4, 4]) < 1.0, name
    assert torch.equal(CHANGES["cross"](spike), flat)
    # Two bright neighbours: three of nine around each with the one below, two of a cross of five.
    spike[0, :, 4:7, 4] = 1.0
    assert float(CHANGES["cross"](spike)[0, 0, 5, 4]) == 1.0
    assert float(CHANGES["median"](spike)[0, 0, 5, 4]) == pytest.approx(0.4)


def test_moving_and_mirroring_put_pixels_where_they_say() -> None:
    pixels = torch.arange(6.0).view(1, 1, 2, 3) / 255
    assert (255 * mirrored(pixels)).int().tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
    assert (255 * shifted(pixels)).round().int().tolist() == [[[[0, 0, 1], [0, 0, 1]]]]


@torch.no_grad()
def test_answers_to_several_views_are_averaged_as_probabilities() -> None:
    # Class 1 has the log-odds of the left pixel less those of the right one.
    model = LinearModel([[0.0, 0.0], [2.0, -2.0]])
    pixels = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    plain = torch.sigmoid(torch.tensor(2.0))
    found = Deployed(model, as_it_is, mirrored)(pixels).exp()
    # One view says sigmoid(2), the mirrored one sigmoid(-2): their mean is a half.
    assert found[0].tolist() == pytest.approx([0.5, 0.5])
    assert float(Deployed(model, as_it_is)(pixels).exp()[0, 1]) == pytest.approx(float(plain))


@torch.no_grad()
def test_in_a_vote_the_source_wins_unless_its_partners_agree() -> None:
    def saying(label: int) -> nn.Module:
        return LinearModel(
            [[0.0], [0.0], [0.0]], [5.0 if label == one else 0.0 for one in range(3)]
        )

    pixels, weights = torch.zeros(1, 1, 1, 1), [0.4, 0.3, 0.3]
    apart = Together([saying(0), saying(1), saying(2)], weights, "top-1")(pixels)
    agreed = Together([saying(0), saying(1), saying(1)], weights, "top-1")(pixels)
    mean = Together([saying(0), saying(1), saying(1)], weights, "mean")(pixels)
    assert [int(each.argmax()) for each in (apart, agreed, mean)] == [0, 1, 1]
    for each in (apart, agreed, mean):
        assert float(each.exp().sum()) == pytest.approx(1.0)
    # exp(5) / (exp(5) + 2) of the own class, 1 / (exp(5) + 2) of another's
    own, other = np.exp(5) / (np.exp(5) + 2), 1 / (np.exp(5) + 2)
    assert float(mean.exp()[0, 0]) == pytest.approx(0.4 * own + 0.6 * other)


def test_no_setting_shapes_queries_and_sets_bounds() -> None:
    source = trained_net(1, tiny_images(60, 1))
    partners = [trained_net(seed, tiny_images(60, seed)) for seed in (2, 3)]
    images = CopyImages(tuning=tiny_images(60, 3), training=tiny_images(60, 1))
    made = make_copies(source, [partners[0]], images, seed=0, hardening_epochs=1)
    deployed = make_deployments(source, partners, seed=0, is_mirrored=True)
    chosen = [*made.selection, *deployed[0]]
    judged = [*made.calibration, *deployed[1]]
    names = [model.name for model in (*chosen, *judged)]
    digests = [model.weights_sha256 for model in (*chosen, *judged)]
    assert len(set(names)) == len(set(digests)) == len(names)
    # Each kind of deployment that sets bounds has a name of its own, for a bound of its own.
    assert {model.stratum for model in deployed[1]} == {
        *("behind JPEG", "behind blur", "behind a median filter", "behind resizing"),
        *("behind noise", "averaged over views", "mirrored", "in an ensemble"),
    }
    assert all(model.network is None for model in (*deployed[0], *deployed[1]))


def test_nobody_mirrors_what_loses_its_accuracy_or_asks_partners_that_are_not_there() -> None:
    source = trained_net(1, tiny_images(60, 1))
    made = make_deployments(source, [], seed=0, is_mirrored=False)
    strata = {model.stratum for side in made for model in side}
    assert not strata & {"mirrored", "in an ensemble"}
