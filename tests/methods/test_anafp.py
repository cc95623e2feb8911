"""The boundary, both bounds and the stretch between them, checked by hand on linear classifiers."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from worlds.linear_model import CLASSES, SIDE, LinearModel, crafted, linear_world

from generator.crafting.boundary import carlini_wagner, margins, nearest
from generator.crafting.fingerprint import Fingerprint, Pools
from generator.crafting.stretch_bounds import logit_shift, lower_bounds, upper_bounds
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.methods.anafp import METHOD, AnaFpOptions, stretch
from generator.methods.known_methods import load_method
from generator.sources.torch_suspect import predict_logits

SOURCE, POOLS, CARRIERS = linear_world(1, num_derived=4, num_innocents=4, likeness=2.0)

ANCHOR = np.array([51, 102], np.uint8).reshape(1, 1, 2, 1)
"""Two grey pixels, 0.2 and 0.4. The source's margin of class 1 there is 3 (0.2) + 4 (0.4) - 3.2 =
-1, so that the boundary lies 1 / |(3, 4)| = 0.2 away along (3, 4): d = (0.12, 0.16)."""


def two_classes(offset: float) -> LinearModel:
    """Return a model whose margin of class 1 is ``3 x + 4 y - offset``."""
    return LinearModel([[0.0, 0.0], [3.0, 4.0]], [0.0, -offset])


def craft(
    source: nn.Module = SOURCE,
    pools: Pools = POOLS,
    data: ImageSet = CARRIERS,
    num: int = 10,
    **options: Any,
) -> Fingerprint:
    return crafted(METHOD, AnaFpOptions(**options), source, pools, data, num)


def answers(model: nn.Module, made: Fingerprint) -> list[int]:
    return list(predict_logits(model, made.images).argmax(axis=1))


def test_a_margin_is_the_distance_to_the_strongest_rival() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0], [1.0, 5.0, 2.0], [3.0, 3.0, 0.0]])
    assert margins(logits, torch.tensor([1, 2, 0])).tolist() == [3.0, -3.0, 0.0]


def test_the_linearised_walk_finds_a_linear_boundary_exactly() -> None:
    pixels, target = torch.tensor([[[[0.2, 0.4]]]]), torch.tensor([1])
    crossing = nearest(two_classes(3.2), pixels, target, max_steps=5)
    assert crossing.is_found.all()
    assert crossing.directions.flatten().tolist() == pytest.approx([0.12, 0.16], abs=1e-5)


def test_carlini_and_wagner_find_the_same_boundary() -> None:
    pixels, target = torch.tensor([[[[0.2, 0.4]]]]), torch.tensor([1])
    crossing = carlini_wagner(two_classes(3.2), pixels, target, max_steps=360, learning_rate=0.005)
    assert crossing.is_found.all()
    assert crossing.directions.norm().item() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("attack", [nearest, carlini_wagner])
def test_a_class_that_no_image_reaches_is_not_found(attack: Any) -> None:
    # 3 x + 4 y is at most 7 in the box.
    pixels, target = torch.tensor([[[[0.2, 0.4]]]]), torch.tensor([1])
    assert not attack(two_classes(7.5), pixels, target, max_steps=30).is_found.any()


def test_logits_shift_up_to_a_constant() -> None:
    source = np.zeros((3, 3))
    derived = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.0, 0.0, 3.0]])
    # The best constants are 1, 0 and 1.5.
    assert logit_shift(source, derived).tolist() == [0.0, 1.0, 1.5]


def test_the_lower_bound_covers_the_asked_share_of_the_derived_models() -> None:
    # At tau = 3 the margin is 4: s ||d|| = 4 / (3 - 1) = 2, and 1 + 2 D / 2 = 1 + D.
    stretches, reached = np.full((1, 1), 3.0), np.full((1, 1), 4.0)
    shifts = np.array([0.1, 0.2, 0.4, 0.8]).reshape(4, 1, 1)
    bounds = [
        lower_bounds(stretches, reached, shifts, derived_share=share).item()
        for share in (0.5, 0.75, 1.0)
    ]
    assert bounds == pytest.approx([1.2, 1.4, 1.8])


def test_there_is_no_lower_bound_where_the_source_answers_otherwise() -> None:
    bound = lower_bounds(
        np.full((1, 1), 2.0), np.full((1, 1), -0.5), np.zeros((1, 1, 1)), derived_share=1.0
    )
    assert np.isinf(bound).all()


def test_the_upper_bound_leaves_the_asked_share_of_the_innocents_in_place() -> None:
    # Margins 4, 3, 2, -1 over a slope of 5 per length and a length of 0.2.
    own = np.array([[4.0], [3.0], [2.0], [-1.0]])
    slopes, lengths = np.full((4, 1), 5.0), np.array([0.2])
    bounds = [
        upper_bounds(own, slopes, lengths, innocent_share=share).item()
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    assert bounds == pytest.approx([4.0, 3.0, 2.0, -1.0])


@pytest.mark.parametrize("slope", ["ray", "gradient"])
def test_the_admissible_interval_of_a_linear_source_is_that_of_the_paper(slope: str) -> None:
    # Derived: the logit of class 1 is 0.4 lower, a shift of 0.2. s = |(3, 4)| = 5 and ||d|| = 0.2,
    # so lower = 1 + 2 (0.2) / (5 * 0.2) = 1.4. Innocent: its margin of class 0 is 3 at the anchor
    # and falls by 5 per length, so upper = 3 / (5 * 0.2) = 3. The middle is 2.2.
    pools = Pools(derived=[two_classes(3.6)], innocents=[two_classes(5.2)])
    options = AnaFpOptions(slope=slope, grid=49)  # type: ignore[arg-type]  # from the list above
    points = stretch(two_classes(3.2), pools, ANCHOR, np.array([0]), np.array([1]), options)
    assert points.upper.item() == pytest.approx(3.0, abs=0.001)
    # Rounding moves the source's margin by at most 7 / 510 of some 1.2.
    assert points.lower.item() == pytest.approx(1.4, abs=0.01)
    assert points.stretches.item() == pytest.approx(2.2, abs=0.05)
    # x(2.2) = (0.2 + 2.2 * 0.12, 0.4 + 2.2 * 0.16) = (0.464, 0.752)
    assert points.images.flatten() / 255 == pytest.approx([0.464, 0.752], abs=0.01)


def test_an_interval_without_room_gives_no_point() -> None:
    # A shift of 1.2 raises the lower bound to 1 + 2.4 / 1 = 3.4, above 3.
    pools = Pools(derived=[two_classes(5.6)], innocents=[two_classes(5.2)])
    source, options = two_classes(3.2), AnaFpOptions()
    points = stretch(source, pools, ANCHOR, np.array([0]), np.array([1]), options)
    assert np.isnan(points.stretches).all()
    assert points.upper.item() == pytest.approx(3.0, abs=0.001)
    assert (points.images == ANCHOR).all()


def test_the_stretch_lies_between_its_bounds_and_the_source_answers_the_target() -> None:
    images, labels = CARRIERS.images[:20], CARRIERS.labels[:20]
    targets = (labels + 1) % CLASSES
    points = stretch(SOURCE, POOLS, images, labels, targets, AnaFpOptions(innocent_share=0.5))
    made = ~np.isnan(points.stretches)
    assert made.sum() > 3
    assert (points.lower[made] < points.stretches[made]).all()
    assert (points.stretches[made] < points.upper[made]).all()
    given = predict_logits(SOURCE, points.images[made]).argmax(axis=1)
    assert (given == targets[made]).all()


def test_full_shares_bind_every_model_of_the_pools() -> None:
    # The paper's two guarantees: below half of the margin no shift takes the label away, and
    # before its margin is used up an innocent stays with the anchor's class.
    made = craft(derived_share=1.0, innocent_share=1.0, slope="gradient", num=3)
    for model in (SOURCE, *POOLS.derived):
        assert answers(model, made) == list(made.labels)
    for model in POOLS.innocents:
        before = predict_logits(model, made.carriers).argmax(axis=1)
        assert answers(model, made) == list(before)
        assert (before != made.labels).all()


def test_points_are_counted_with_the_reasons_why_others_were_dropped() -> None:
    made = craft(num=1000)
    found, num_anchors = made.findings, int(made.findings["anchors"])
    assert num_anchors > 50
    assert found["points_tried"] == 3 * num_anchors
    dropped = [int(found[name]) for name in ("no_boundary", "upper_below_1", "empty_interval")]
    assert len(made.images) == found["feasible_points"]
    assert sum(dropped) + len(made.images) == found["points_tried"]
    assert answers(SOURCE, made) == list(made.labels)


def test_the_points_with_the_most_room_are_kept() -> None:
    everything, best = craft(num=1000), craft(num=2, targets=3)
    assert len(best.images) == 2
    known = {image.tobytes() for image in everything.images}
    assert all(image.tobytes() in known for image in best.images)


def test_the_same_seed_gives_the_same_images() -> None:
    first, second = craft(), craft()
    assert (first.images == second.images).all()


def test_carlini_and_wagner_can_be_asked_for() -> None:
    made = craft(attack="carlini-wagner", attack_steps=240, num=4, targets=1)
    assert len(made.images)
    assert answers(SOURCE, made) == list(made.labels)


def test_no_feasible_point_is_told_with_counts_and_reasons() -> None:
    # Innocents that share half of the source's weights are wrong about most of its images.
    source, pools, data = linear_world(num_derived=4, num_innocents=4)
    with pytest.raises(GenerationError, match=r"none of 177 from 59 anchors: .* 177 have an upper"):
        craft(source, pools, data)


def test_too_high_a_confidence_names_the_surest_image() -> None:
    unsure = LinearModel((0.01 * np.random.default_rng(1).normal(size=(4, 16))).tolist())
    labels = predict_logits(unsure, CARRIERS.images).argmax(axis=1)
    with pytest.raises(GenerationError, match=r"min_confidence.*surest of 60 has 0\.2"):
        craft(unsure, data=ImageSet(CARRIERS.images, labels, ()))


@pytest.mark.parametrize("missing", ["derived", "innocents"])
def test_missing_pools_are_named_with_the_commands_that_make_them(missing: str) -> None:
    left = {"derived": POOLS.derived, "innocents": POOLS.innocents, missing: ()}
    with pytest.raises(GenerationError, match=r"'kinprint references'.*--train-references"):
        craft(pools=Pools(**left))


def test_a_source_near_chance_is_refused() -> None:
    guesser = LinearModel([[0.0] * SIDE * SIDE] * CLASSES, [1.0, 0.0, 0.0, 0.0])
    with pytest.raises(GenerationError, match="near chance"):
        craft(guesser)


def test_three_channels_will_do() -> None:
    source, pools, data = linear_world(3, num_derived=4, num_innocents=4, likeness=2.0)
    made = craft(source, pools, data, num=3, innocent_share=0.5)
    assert made.images.shape == (3, SIDE, SIDE, 3)
    assert answers(source, made) == list(made.labels)


def test_two_classes_have_one_target() -> None:
    images = np.repeat(ANCHOR, 20, axis=0)
    images[10:] = [[[[200], [200]]]]  # 3 (0.78) + 4 (0.78) - 3.2 > 0: class 1
    data = ImageSet(images, np.repeat([0, 1], 10), ())
    pools = Pools(derived=[two_classes(3.3)], innocents=[two_classes(4.4)])
    made = craft(two_classes(3.2), pools, data, num=50, min_confidence=0.5)
    assert made.findings["points_tried"] == 20
    assert (made.labels[:10] == 1).all()


def test_progress_rises_to_its_end() -> None:
    steps: list[tuple[int, int]] = []
    METHOD.craft(
        SOURCE,
        CARRIERS.images,
        CARRIERS.labels,
        POOLS,
        AnaFpOptions(),
        num_images=2,
        rng=np.random.default_rng(0),
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize(
    "options",
    [
        {"min_confidence": 1.0},
        {"attack": "fgsm"},
        {"derived_share": 0.0},
        {"innocent_share": 1.1},
        {"grid": 1},
        {"max_stretch": 1.0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        AnaFpOptions(**options)


def test_the_method_is_found_by_its_name() -> None:
    assert load_method("anafp") is METHOD
