"""The loss by hand, pools that never mix, and what the screen promises of every image."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from worlds.linear_model import CLASSES, SIDE, LinearModel, crafted, linear_world

from generator.crafting.clean_images import right_images
from generator.crafting.fingerprint import Fingerprint, Pools
from generator.crafting.shadows import Shadows, split_pools
from generator.crafting.transforms import TRANSFORMS
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.methods.known_methods import load_method
from generator.methods.metafinger import (
    METHOD,
    MetaFingerOptions,
    divergence,
    draw_positives,
    triplet_loss,
)
from generator.pools.removal import add_weight_noise
from generator.sources.source import weights_digest
from generator.sources.torch_suspect import predict_logits
from generator.training.device import seeded

SOURCE, POOLS, CARRIERS = linear_world(num_derived=4, num_innocents=4)
QUICK: dict[str, Any] = {"batch_size": 20, "epochs": 4, "min_epochs": 2, "learning_rate": 0.1}


def craft(
    source: nn.Module = SOURCE,
    pools: Pools = POOLS,
    data: ImageSet = CARRIERS,
    num: int = 5,
    **options: Any,
) -> Fingerprint:
    return crafted(METHOD, MetaFingerOptions(**(QUICK | options)), source, pools, data, num)


def split(
    seed: int | np.random.Generator, options: MetaFingerOptions, pools: Pools = POOLS
) -> Shadows:
    return split_pools(
        SOURCE,
        pools,
        CARRIERS.images,
        validation_share=options.validation_share,
        source_copies=options.source_copies,
        innocent_copies=options.innocent_copies,
        rng=np.random.default_rng(seed),
    )


def answers(model: nn.Module, made: Fingerprint) -> list[int]:
    return list(predict_logits(model, made.images).argmax(axis=1))


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    other, anchor = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(other.log(), anchor.log()).item() == pytest.approx(expected)


def test_the_loss_attracts_positives_and_repels_negatives() -> None:
    even, odd = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    apart = divergence(odd, even).item()
    attracted = triplet_loss(even, [even, odd], [even], repelling=2.0, max_repelling=10.0)
    repelled = triplet_loss(even, [even], [odd, odd, even], repelling=2.0, max_repelling=10.0)
    assert attracted.item() == pytest.approx(apart / 2)
    assert repelled.item() == pytest.approx(-2 * 2 / 3 * apart)


def test_repelling_is_bounded_and_stops_pushing_at_its_bound() -> None:
    anchor = torch.tensor([[0.0, -300.0], [0.0, -3000.0]], requires_grad=True)
    negative = torch.tensor([[-300.0, 0.0], [-300.0, 0.0]])
    loss = triplet_loss(anchor, [anchor], [negative], repelling=2.0, max_repelling=5.0)
    assert loss.tolist() == [-10.0, -10.0]
    (gradient,) = torch.autograd.grad(loss.sum(), anchor)
    assert gradient.abs().max() == 0


def test_an_anchor_is_never_its_own_positive() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_positives(4, 2, 3, rng) for _ in range(50)]
    assert all(sorted(one) == [0, 1, 3] for one in drawn)
    assert draw_positives(2, 0, 3, rng).tolist() == [1]


def test_models_that_screen_never_optimise() -> None:
    shadows = split(0, MetaFingerOptions(source_copies=6, innocent_copies=2))
    # A third of 4 is 1, a third of 6 copies is 2: source + 3 + 4 copies against 1 + 2 copies;
    # 3 innocents with 2 copies each against 1.
    assert len(shadows.positives) == 1 + 3 + 4
    assert len(shadows.validation_positives) == 1 + 2
    assert len(shadows.negatives) == 3 + 6
    assert len(shadows.validation_negatives) == 1
    everyone = [weights_digest(model) for group in vars(shadows).values() for model in group]
    assert len(set(everyone)) == len(everyone)
    assert everyone[0] == weights_digest(SOURCE)


def test_the_split_is_a_function_of_the_seed() -> None:
    splits = [split(seed, MetaFingerOptions()) for seed in (0, 0, 1)]
    first, again, other = ([weights_digest(m) for m in one.positives] for one in splits)
    assert first == again
    assert first != other


def test_models_of_every_likeness_to_the_source_optimise_and_screen() -> None:
    twins = [add_weight_noise(SOURCE, 0.01, generator=seeded(i, "twin")) for i in range(3)]
    _, strangers, _ = linear_world(num_innocents=3, likeness=0.1)
    pools = Pools(derived=POOLS.derived, innocents=[*strangers.innocents, *twins])
    known = {weights_digest(twin) for twin in twins}
    for seed in range(10):
        shadows = split(seed, MetaFingerOptions(), pools)
        screening = [weights_digest(model) for model in shadows.validation_negatives]
        assert len(screening) == 2
        assert len(known & set(screening)) == 1


def test_every_image_passes_the_screen_on_models_that_did_not_optimise() -> None:
    made = craft(num=8)
    assert len(made.images) == 8
    assert answers(SOURCE, made) == list(made.labels)
    # Crafting draws an order of the images, then splits: the same seed gives the same split.
    rng = np.random.default_rng(0)
    right_images(SOURCE, CARRIERS.images, CARRIERS.labels, rng)
    shadows = split(rng, MetaFingerOptions(**QUICK))
    for model in shadows.validation_positives:
        assert answers(model, made) == list(made.labels)
    for model in shadows.validation_negatives:
        assert not (np.array(answers(model, made)) == made.labels).any()


def test_rounds_follow_until_there_are_enough_or_no_more_carriers() -> None:
    few = craft(num=2, batch_size=10, max_rounds=6)
    everything = craft(num=1000, batch_size=10, max_rounds=6)
    assert few.findings["rounds"] == 1
    assert everything.findings["rounds"] == 6
    found = {name: int(value) for name, value in everything.findings.items()}
    dropped = found["lost_by_derived"] + found["shared_by_innocents"]
    assert len(everything.images) + dropped == found["carriers_tried"] == 60


def test_the_same_seed_gives_the_same_images() -> None:
    first, second = craft(), craft()
    assert (first.images == second.images).all()


def test_no_image_that_passes_is_told_with_counts_and_reasons() -> None:
    # Innocents that are the source itself share every label.
    pools = Pools(derived=POOLS.derived, innocents=[SOURCE, SOURCE])
    with pytest.raises(
        GenerationError, match=r"none of 20: 0 lost a derived model, 20 were shared"
    ):
        craft(pools=pools, max_rounds=1)


@pytest.mark.parametrize(("num_derived", "num_innocents"), [(0, 0), (1, 4), (4, 1)])
def test_too_few_models_to_split_are_refused_with_what_makes_more(
    num_derived: int, num_innocents: int
) -> None:
    pools = Pools(derived=POOLS.derived[:num_derived], innocents=POOLS.innocents[:num_innocents])
    with pytest.raises(
        GenerationError,
        match=rf"at least 2 derived and 2 innocent .*got {num_derived} and {num_innocents}.*"
        "'kinprint references'.*--train-references",
    ):
        craft(pools=pools)


def test_a_source_near_chance_is_refused() -> None:
    guesser = LinearModel([[0.0] * SIDE * SIDE * 3] * CLASSES, [1.0, 0.0, 0.0, 0.0])
    with pytest.raises(GenerationError, match="near chance"):
        craft(guesser)


@pytest.mark.parametrize("num_classes", [2, CLASSES])
def test_one_channel_and_two_classes_will_do(num_classes: int) -> None:
    source, pools, data = linear_world(1, 4, 4, likeness=0.3, num_classes=num_classes)
    made = craft(source, pools, data, num=5)
    assert made.images.shape == (5, SIDE, SIDE, 1)
    assert answers(source, made) == list(made.labels)


def test_progress_rises_to_its_end() -> None:
    steps: list[tuple[int, int]] = []
    METHOD.craft(
        SOURCE,
        CARRIERS.images,
        CARRIERS.labels,
        POOLS,
        MetaFingerOptions(**QUICK),
        num_images=2,
        rng=np.random.default_rng(0),
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("name", list(TRANSFORMS))
@pytest.mark.parametrize("shape", [(2, 3, 12, 8), (1, 1, 4, 4)])
def test_transforms_keep_shape_range_and_gradients(name: str, shape: tuple[int, ...]) -> None:
    for seed in range(5):
        pixels = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        seen = TRANSFORMS[name](pixels, np.random.default_rng(seed))
        again = TRANSFORMS[name](pixels, np.random.default_rng(seed))
        assert seen.shape == shape
        assert seen.min() >= 0
        assert seen.max() <= 1 + 1e-6
        assert torch.equal(seen, again)
        (gradient,) = torch.autograd.grad(seen.sum(), pixels)
        assert gradient.abs().sum() > 0


def test_blurs_keep_a_constant_image_and_a_median_drops_a_speck() -> None:
    rng, even = np.random.default_rng(0), torch.full((1, 1, 5, 5), 0.25)
    for name in ("gaussian-blur", "average-blur", "median-blur"):
        assert torch.allclose(TRANSFORMS[name](even, rng), even)
    speck = even.clone()
    speck[0, 0, 2, 2] = 1.0
    assert torch.equal(TRANSFORMS["median-blur"](speck, rng), even)
    # A ninth of 0.75 more.
    assert TRANSFORMS["average-blur"](speck, rng)[0, 0, 2, 2].item() == pytest.approx(1 / 3)


def test_a_translation_moves_the_image_and_black_comes_in() -> None:
    pixels = torch.arange(1, 65.0).view(1, 1, 8, 8) / 64
    for seed in range(10):
        rng = np.random.default_rng(seed)
        down, right = (int(np.random.default_rng(seed).integers(-1, 2, 2)[i]) for i in (0, 1))
        moved = TRANSFORMS["translate"](pixels, rng)
        rolled = pixels.roll((down, right), (2, 3))
        inside = moved > 0
        assert torch.equal(moved[inside], rolled[inside])
        assert int((~inside).sum()) == 64 - (8 - abs(down)) * (8 - abs(right))


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"max_repelling": 0.0},
        {"validation_share": 1.0},
        {"min_derived_agreement": 0.0},
        {"max_innocent_agreement": 1.0},
        {"learning_rate": 0.0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        MetaFingerOptions(**options)


def test_the_method_is_found_by_its_name() -> None:
    assert load_method("metafinger") is METHOD
