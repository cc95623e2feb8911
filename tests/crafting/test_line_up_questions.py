"""Questions and bound of a line-up look at its members alike, to the bit."""

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.line_up_world import LineUpWorld

from audit.bundle.line_up import LineUp
from generator.crafting.line_up_bound import choose_bound
from generator.crafting.line_up_questions import choose_questions, disagreement, distinct
from generator.crafting.near_duplicates import near_to_any

IMAGES = np.random.default_rng(7).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
"""In the place of a world's own, which hold nothing but their numbers and are all alike."""


def test_disagreement_is_the_spread_of_what_members_hold_for_likely() -> None:
    # Two members, two classes: (almost) sure of the same class, and of different ones.
    codes = np.array([[[0, 255], [0, 255]], [[0, 255], [255, 0]]], dtype=np.uint8)
    # Var of log(1.05) and log(0.05), half their distance squared, in each class, weights 1/2 each.
    apart = (np.log(1.05 / 0.05) / 2) ** 2
    assert disagreement(codes) == pytest.approx([0, apart], abs=1e-4)


def test_who_stands_where_moves_no_question_and_no_bit() -> None:
    line_up = LineUpWorld().line_up
    codes, images = line_up.arrays.member_codes, IMAGES
    chosen = choose_questions(codes, images, num_questions=50, seed="ab")
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(codes))
        assert (disagreement(codes[order]) == disagreement(codes)).all()
        again = choose_questions(codes[order], images, num_questions=50, seed="ab")
        assert (again == chosen).all()


def test_the_order_of_the_files_moves_nothing_either() -> None:
    line_up = LineUpWorld().line_up
    codes, images = line_up.arrays.member_codes, IMAGES
    order = np.random.default_rng(1).permutation(len(images))
    one = images[choose_questions(codes, images, num_questions=50, seed="ab")]
    moved = choose_questions(codes[:, order], images[order], num_questions=50, seed="ab")
    assert (images[order][moved] == one).all()
    other = images[choose_questions(codes, images, num_questions=50, seed="cd")]
    assert not (other == one).all()


def test_members_disagree_more_about_questions_than_about_what_is_left() -> None:
    line_up = LineUpWorld().line_up
    told = disagreement(line_up.arrays.member_codes)
    chosen = choose_questions(line_up.arrays.member_codes, IMAGES, num_questions=50, seed="")
    left = np.delete(np.arange(len(told)), chosen)
    assert told[chosen].min() >= told[left].max()


def test_the_bound_does_not_know_who_is_the_source() -> None:
    line_up = LineUpWorld(num_derived=0).line_up
    others = {
        choose_bound(
            LineUp(
                record=line_up.record.model_copy(update={"source": source, "lead_bound": 99.0}),
                arrays=line_up.arrays,
            )
        )
        for source in range(20)
    }
    assert len(others) == 1
    assert others.pop() > 1


def test_an_image_that_stands_twice_is_asked_once() -> None:
    images = np.zeros((4, 2, 2, 3), dtype=np.uint8)
    images[1], images[3] = 7, 7
    assert distinct(images).tolist() == [0, 1]


def altered(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pictures as another program stores them: darker, with less contrast, noisy."""
    noise = np.random.default_rng(8).normal(0, 3, images.shape)
    return np.clip(images * 0.9 + 5 + noise, 0, 255).astype(np.uint8)


def test_nearly_the_same_picture_is_asked_once_whoever_is_the_source() -> None:
    codes = LineUpWorld().line_up.arrays.member_codes
    images = IMAGES.copy()
    images[100:] = altered(images[:100])
    chosen = choose_questions(codes, images, num_questions=200, seed="ab")
    # one of each pair, the one that members disagree about more
    assert sorted(place % 100 for place in chosen) == list(range(100))
    told = disagreement(codes)
    assert all(told[place] >= told[(place + 100) % 200] for place in chosen)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(codes))
        again = choose_questions(codes[order], images, num_questions=200, seed="ab")
        assert (again == chosen).all()


def test_images_that_are_nearly_known_are_found_and_others_are_not() -> None:
    known = IMAGES[:50]
    assert near_to_any(altered(known), known).all()
    assert not near_to_any(IMAGES[50:], known).any()
    # Two grey images show nothing that could be the same.
    flat = np.full((2, 8, 8, 3), 128, dtype=np.uint8)
    assert not near_to_any(flat[:1], flat[1:]).any()
