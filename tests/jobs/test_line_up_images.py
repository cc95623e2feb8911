"""Images that a line-up may be asked about: what is left out, refused, and told."""

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.audit_world import known_bundle

from audit.bundle.manifest import BundleContents
from generator.errors import GenerationError
from generator.jobs.line_up_images import check_unseen, usable_images

PICTURES = np.random.default_rng(1).integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle() -> BundleContents:
    return known_bundle()


def usable(
    bundle: BundleContents, images: NDArray[np.uint8], known: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    told: list[str] = []
    return usable_images(bundle, images, known, told.append), told


def test_images_that_a_member_was_trained_on_are_left_out_also_when_stored_anew(
    bundle: BundleContents,
) -> None:
    brighter = np.clip(PICTURES[:30] * 0.8 + 20, 0, 255).astype(np.uint8)
    kept, told = usable(bundle, PICTURES, brighter)
    assert (kept == PICTURES[30:]).all()
    assert told == ["Left out 30 images that stand twice or were trained on."]


def test_images_that_are_all_known_are_refused(bundle: BundleContents) -> None:
    with pytest.raises(GenerationError, match="images: the members were trained on all of them"):
        usable(bundle, PICTURES[:20], PICTURES)


def test_fewer_than_300_images_and_two_classes_are_told(bundle: BundleContents) -> None:
    _, told = usable(bundle, PICTURES[:299])
    assert len(told) == 1
    assert told[0].startswith("Only 299 images: below 300 students and hardened copies are often")
    names = bundle.manifest.task.model_copy(update={"class_names": ("a", "b")})
    two = known_bundle(task=names)
    _, told = usable(two, PICTURES)
    assert told == [
        "With two classes an answer says little; expect to need many times the questions."
    ]


def codes(least: list[int], num: int) -> NDArray[np.uint8]:
    """Members whose likeliest class has these codes on average, and another one far behind."""
    random = np.random.default_rng(0)
    likeliest = np.array(least)[:, None] + random.integers(-2, 3, (len(least), num))
    return np.stack([likeliest, np.full_like(likeliest, 90)], axis=-1).astype(np.uint8)


def test_images_that_the_source_alone_was_trained_on_are_refused() -> None:
    told: list[str] = []
    controls = codes([10] * 20, 200)
    check_unseen(codes([10] * 20, 500), controls, 0, told.append)
    assert told == []
    with pytest.raises(GenerationError, match="the source is surer of them than of the control"):
        check_unseen(codes([4] + [10] * 19, 500), controls, 0, told.append)
    # A source that is surer of everything is another matter: fairness looks at that.
    check_unseen(codes([4] + [10] * 19, 500), codes([4] + [10] * 19, 200), 0, told.append)
    # and so is a sibling that was trained on them: it is picked, and costs power alone.
    check_unseen(codes([10] * 19 + [4], 500), controls, 0, told.append)
    assert told == []


def test_images_that_everybody_was_trained_on_are_told() -> None:
    told: list[str] = []
    check_unseen(codes([4] * 20, 500), codes([10] * 20, 200), 0, told.append)
    # e^(-4 / 16) and e^(-10 / 16), give or take two steps
    assert len(told) == 1
    assert "The members are surer of these images (78%) than of the control images (54%)" in told[0]
