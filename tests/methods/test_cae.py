"""Conferrability by hand, and what the paper promises of every image that is kept."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn
from worlds.linear_model import CLASSES, SIDE, LinearModel, crafted, linear_world

from generator.crafting.descent import DescentSettings, descend
from generator.crafting.fingerprint import Fingerprint, Pools
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.methods.cae import METHOD, CaeOptions, cem_loss, conferrability, screen
from generator.methods.known_methods import load_method
from generator.sources.torch_suspect import predict_logits

SOURCE, POOLS, CARRIERS = linear_world()


def craft(
    source: nn.Module = SOURCE,
    pools: Pools = POOLS,
    data: ImageSet = CARRIERS,
    num: int = 6,
    **options: Any,
) -> Fingerprint:
    return crafted(METHOD, CaeOptions(**options), source, pools, data, num)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def scores(made: Fingerprint, pools: Pools = POOLS) -> NDArray[np.float64]:
    """Derive the scores of the stored images again, at the stored labels."""
    surrogates, references = (
        np.mean([softmax(predict_logits(model, made.images)) for model in pool], axis=0)
        for pool in (pools.derived, pools.innocents)
    )
    return np.asarray((surrogates * (1 - references))[np.arange(len(made.labels)), made.labels])


def test_a_class_confers_as_far_as_surrogates_say_it_and_references_do_not() -> None:
    surrogates = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    references = torch.tensor([[0.2, 0.8], [0.0, 1.0]])
    # 0.9 * 0.8, 0.1 * 0.2; 0.5 * 1, 0.5 * 0
    expected = torch.tensor([[0.72, 0.02], [0.5, 0.0]])
    assert torch.allclose(conferrability(surrogates, references), expected)


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        (1, 0, 0.7),
        (1, 1, 0.0),  # still the true class
        (2, 0, 0.0),  # the source says another class than the one that confers
    ],
)
def test_the_score_counts_at_a_wrong_answer_of_the_source_only(
    answer: int, truth: int, expected: float
) -> None:
    source = torch.eye(3)[[answer]]
    conferring = torch.tensor([[0.1, 0.7, 0.2]])
    assert screen(source, conferring, torch.tensor([truth])).item() == pytest.approx(expected)


def test_the_objective_is_the_papers_sum_of_three_cross_entropies() -> None:
    source, truth = torch.tensor([[0.25, 0.75]]), torch.tensor([0])
    surrogates, references = torch.tensor([[0.1, 0.9]]), torch.tensor([[0.8, 0.2]])
    # c = (0.1 * 0.2, 0.9 * 0.8) = (0.02, 0.72); its softmax at the larger: 1 / (1 + e^-0.7)
    conferring = math.log(1 + math.exp(-0.7))
    repelling = math.log(4)
    following = -0.25 * math.log(0.1) - 0.75 * math.log(0.9)
    options = CaeOptions(alpha=2.0, beta=3.0, gamma=5.0)
    loss = cem_loss(source.log(), surrogates, references, truth, options)
    assert loss.item() == pytest.approx(2 * conferring - 3 * repelling + 5 * following, rel=1e-5)


def test_the_repelling_term_is_bounded() -> None:
    options = CaeOptions(alpha=0.0, gamma=0.0, beta=1.0, max_repelling=5.0)
    even = torch.full((2, 2), 0.5)
    source = torch.tensor([[-6.0, 0.0], [-60.0, 0.0]])  # log-probabilities of the true class
    assert cem_loss(source, even, even, torch.zeros(2).long(), options).tolist() == [-5.0, -5.0]


def test_the_way_that_only_surrogates_follow_is_taken() -> None:
    # Two classes, two grey pixels: source and surrogate turn to class 1 as the first one rises,
    # the reference as either does, and faster by the second. Raise the first, lower the second.
    follower = LinearModel([[0.0, 0.0], [40.0, 0.0]], [0.0, -18.0])
    reference = LinearModel([[0.0, 0.0], [40.0, 60.0]], [0.0, -48.0])
    carrier = ImageSet(np.full((9, 1, 2, 1), 102, np.uint8), np.zeros(9, np.int64), ())
    carrier.images[8], carrier.labels[8] = 255, 1  # the source must not be a constant guess
    carrier.labels[:8] = 0
    pools = Pools(derived=[follower], innocents=[reference])
    made = craft(follower, pools, carrier, num=3)
    # Class 1 of the source starts where 40 x > 18: x > 0.45, level 114.75.
    zero = made.labels == 1
    assert zero.any()
    assert (made.images[zero, 0, 0, 0] > 114).all()
    assert (made.images[zero, 0, 1, 0] < 102).all()
    assert (scores(made, pools) >= 0.85 - 1e-6).all()


def test_every_image_passes_the_screen_and_is_the_sources_own_mistake() -> None:
    made = craft(radius=30)
    assert len(made.images) == 6
    assert (predict_logits(SOURCE, made.images).argmax(axis=1) == made.labels).all()
    assert (scores(made) >= 0.85 - 1e-6).all()
    assert made.findings["lowest_score"] == pytest.approx(scores(made).min(), abs=1e-4)
    for image, label, carrier in zip(made.images, made.labels, made.carriers, strict=True):
        (position,) = np.flatnonzero((CARRIERS.images == carrier).all(axis=(1, 2, 3)))
        assert CARRIERS.labels[position] != label
        assert np.abs(image.astype(int) - carrier.astype(int)).max() <= 30


def test_the_same_seed_gives_the_same_images() -> None:
    first, second = craft(), craft()
    assert (first.images == second.images).all()


def test_progress_rises_to_its_end() -> None:
    steps: list[tuple[int, int]] = []
    METHOD.craft(
        SOURCE,
        CARRIERS.images,
        CARRIERS.labels,
        POOLS,
        CaeOptions(max_steps=5, keep="best"),
        num_images=4,
        rng=np.random.default_rng(0),
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


def test_a_threshold_that_nothing_reaches_is_told_with_the_best_score() -> None:
    with pytest.raises(
        GenerationError, match=r"at least 0\.85, but of 60 images the best reached 0"
    ):
        craft(radius=1, max_steps=5)


def test_the_best_are_kept_on_request_and_the_findings_say_so() -> None:
    made = craft(threshold=1.0, max_steps=10, keep="best", num=4)
    assert len(made.images) == 4
    assert made.findings["keep"] == "best"
    assert made.findings["passing"] == 0
    more = craft(threshold=1.0, max_steps=10, keep="best", num=12)
    # The four are the best of the twelve that the longer run keeps from the same carriers.
    assert scores(more)[0] == pytest.approx(scores(more).max())
    assert (np.diff(scores(more)) <= 1e-6).all()


@pytest.mark.parametrize("missing", ["derived", "innocents"])
def test_missing_pools_are_named_with_the_commands_that_make_them(missing: str) -> None:
    left = {"derived": POOLS.derived, "innocents": POOLS.innocents, missing: ()}
    with pytest.raises(GenerationError, match=r"'kinprint references'.*--train-references"):
        craft(pools=Pools(**left))


def test_a_source_near_chance_is_refused() -> None:
    guesser = LinearModel([[0.0] * SIDE * SIDE * 3] * CLASSES, [1.0, 0.0, 0.0, 0.0])
    with pytest.raises(GenerationError, match="near chance"):
        craft(guesser)


def test_one_channel_will_do() -> None:
    source, pools, data = linear_world(channels=1)
    made = craft(source, pools, data, num=5)
    assert made.images.shape == (5, SIDE, SIDE, 1)
    assert (scores(made, pools) >= 0.85 - 1e-6).all()


@pytest.mark.parametrize(
    "options",
    [{"radius": 0}, {"dropout": 1.0}, {"threshold": 1.1}, {"keep": "all"}, {"max_steps": 0}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        CaeOptions(**options)


def test_the_method_is_found_by_its_name() -> None:
    assert load_method("cae") is METHOD


def test_a_descent_stops_an_image_once_its_loss_is_enough() -> None:
    # The loss is the first pixel's level; every step takes 2 levels off.
    def objective(
        images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        return images[:, 0, 0, 0].astype(float), np.ones(images.shape, np.int16)

    carriers = np.array([100, 104, 90], dtype=np.uint8).reshape(3, 1, 1, 1)
    settings = DescentSettings(radius=38, min_improvement=0.0, enough=94)
    found = descend(objective, carriers, np.zeros(3, np.int64), settings)
    assert found.losses.tolist() == [94, 94, 90]
    assert found.steps.tolist() == [3, 5, 0]
