"""IPGuard, AKH and SAC on linear classifiers, whose margins and boundaries are known by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from generator.crafting.fingerprint import Fingerprint, Pools
from generator.errors import GenerationError
from generator.methods import akh, ipguard, sac
from generator.methods.known_methods import load_method
from generator.sources.torch_suspect import predict_logits


class Linear(nn.Module):
    """Logits ``W x + b`` of the pixels ``[N, C, H, W]``."""

    def __init__(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        super().__init__()
        self.layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(weight))
            self.layer.bias.copy_(torch.from_numpy(bias))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def sum_classifier() -> Linear:
    """Four grey pixels; class 0 if they sum to more than 2, else class 1."""
    return Linear(np.array([[1.0] * 4, [0.0] * 4]), np.array([0.0, 2.0]))


def grey(*levels: int) -> NDArray[np.uint8]:
    """Images of one level each, ``[N, 2, 2, 1]``."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


GREY = grey(*[180] * 5, *[100] * 5)
GREY_LABELS = np.array([0] * 5 + [1] * 5)


def craft(
    module: Any,
    source: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    num_images: int = 100,
    seed: int = 0,
    options: Any = None,
    **changes: Any,
) -> Fingerprint:
    method = module.METHOD
    found: Fingerprint = method.craft(
        source.eval(),
        images,
        labels,
        Pools(),
        options or method.options(**changes),
        num_images=num_images,
        rng=np.random.default_rng(seed),
        on_step=lambda done, total: None,
    )
    return found


def colours(num: int = 60, classes: int = 5) -> tuple[Linear, NDArray[np.uint8], Any]:
    """Return a random linear classifier and images of 4x4x3 that it labels itself."""
    rng = np.random.default_rng(3)
    source = Linear(rng.normal(0, 2, (classes, 48)), np.zeros(classes))
    images = rng.integers(60, 200, (num, 4, 4, 3), dtype=np.uint8)
    return source, images, predict_logits(source.eval(), images).argmax(axis=1)


@pytest.mark.parametrize("name", ["ipguard", "akh", "sac"])
def test_a_method_is_found_by_its_name_and_says_what_it_needs(name: str) -> None:
    method = load_method(name)
    assert method.name == name
    assert not method.needs & {"derived", "innocents"}
    method.options()


def test_ipguard_moves_to_the_first_grid_point_beyond_the_margin() -> None:
    # Clean margins: 4 * 180 / 255 - 2 = 210 / 255 and 2 - 4 * 100 / 255 = 110 / 255, median
    # 160 / 255, so that k = 80 / 255. From class 0: 4 n <= 2 * 255 - 80 = 430, n = 107. From
    # class 1: 4 n >= 2 * 255 + 80 = 590, n = 148. All pixels move alike, by less than a level.
    found = craft(ipguard, sum_classifier(), GREY, GREY_LABELS, k=0.5)
    assert len(found.images) == 10
    for image, clean in zip(found.images, found.carriers, strict=True):
        assert set(image.ravel().tolist()) == ({107} if clean[0, 0, 0] == 180 else {148})
    assert found.labels.tolist() == [1 if c[0, 0, 0] == 180 else 0 for c in found.carriers]
    assert found.findings["median_margin"] == pytest.approx(160 / 255, abs=1e-6)
    assert found.findings["k_logits"] == pytest.approx(80 / 255, abs=1e-6)


def test_ipguard_takes_k_in_logits_on_request() -> None:
    # k = 0.2: from class 0 4 n <= (2 - 0.2) * 255 = 459, n = 114; from class 1 4 n >= 561, n = 141
    found = craft(ipguard, sum_classifier(), GREY, GREY_LABELS, k=0.2, k_unit="logits")
    assert sorted(set(found.images.ravel().tolist())) == [114, 141]


@pytest.mark.parametrize("target", ["least-likely", "random"])
def test_ipguard_ends_in_the_target_class_with_the_first_class_second(target: str) -> None:
    source, images, labels = colours()
    found = craft(ipguard, source, images, labels, num_images=20, k=0.5, target=target)
    assert len(found.images) == 20
    clean, logits = (predict_logits(source, each) for each in (found.carriers, found.images))
    first, rows = clean.argmax(axis=1), np.arange(20)
    k = float(found.findings["k_logits"])
    assert (found.labels == logits.argmax(axis=1)).all()
    assert (found.labels != first).all()
    if target == "least-likely":
        assert (found.labels == clean.argmin(axis=1)).all()
    else:
        assert len(set(((found.labels - first) % 5).tolist())) == 4
    # margin k over the first class, which nothing else but the target exceeds
    assert (logits[rows, found.labels] - logits[rows, first] >= k - 1e-5).all()
    assert ((logits > logits[rows, first][:, None] + 1e-5).sum(axis=1) == 1).all()


def test_ipguard_counts_the_images_that_did_not_get_there() -> None:
    with pytest.raises(GenerationError, match=r"none of 10 clean images .* 3 logits .* 50 steps"):
        craft(ipguard, sum_classifier(), GREY, GREY_LABELS, k=3, k_unit="logits", max_steps=50)


def test_ipguard_keeps_what_is_feasible_and_says_how_many_were_tried() -> None:
    # From class 1 the sum must rise to 2 + k = 3.99 of at most 4, from class 0 fall to 0.01.
    # Within 160 steps of one level, 180 gets below 0.01 * 255 / 4 = 0.6 never, 100 above 254.
    found = craft(
        ipguard,
        sum_classifier(),
        GREY,
        GREY_LABELS,
        k=1.99,
        k_unit="logits",
        learning_rate=1 / 255,
        max_steps=160,
    )
    assert len(found.images) == 5
    assert (found.carriers == 100).all()
    assert found.findings["feasible"] == 5
    assert found.findings["carriers_tried"] == 10


def test_the_same_seed_gives_the_same_fingerprint() -> None:
    source, images, labels = colours()
    for module, options in ((ipguard, {"target": "random"}), (sac, {})):
        one, same, other = (
            craft(module, source, images, labels, num_images=8, seed=seed, **options)
            for seed in (1, 1, 2)
        )
        assert (one.images == same.images).all()
        assert (one.images != other.images).any()


@pytest.mark.parametrize(
    ("module", "options"),
    [(ipguard, {"k": -1}), (ipguard, {"target": "likely"}), (sac, {"patch": 1.5}), (akh, {"k": 1})],
)
def test_options_out_of_range_are_refused(module: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        module.METHOD.options(**options)


@pytest.mark.parametrize("module", [ipguard, akh, sac])
def test_a_source_at_chance_is_refused(module: Any) -> None:
    source, images, labels = colours()
    with pytest.raises(GenerationError, match="near chance"):
        craft(module, source, images, (labels + 1) % 5)


def test_akh_asks_exactly_what_the_source_gets_wrong() -> None:
    source, images, answers = colours()
    wrong = np.array([3, 8, 14, 20, 41])
    labels = answers.copy()
    labels[wrong] = (labels[wrong] + 1) % 5
    found = craft(akh, source, images, labels)
    assert {image.tobytes() for image in found.images} == {images[i].tobytes() for i in wrong}
    assert sorted(found.labels.tolist()) == sorted(answers[wrong].tolist())
    assert (found.images == found.carriers).all()
    assert found.findings == {"clean_images": 60, "errors": 5}
    assert len(craft(akh, source, images, labels, num_images=2).images) == 2


@pytest.mark.parametrize(
    ("module", "options"),
    [(akh, akh.AkhOptions()), (sac, sac.SacOptions(images="misclassified"))],
)
def test_a_source_without_errors_says_how_many_images_it_saw(module: Any, options: Any) -> None:
    source, images, labels = colours()
    with pytest.raises(GenerationError, match="got none among 60; give more with --held-out"):
        craft(module, source, images, labels, options=options)


def test_sac_w_asks_the_errors() -> None:
    source, images, labels = colours()
    labels[:4] = (labels[:4] + 1) % 5
    found = craft(sac, source, images, labels, options=sac.SacOptions(images="misclassified"))
    assert {image.tobytes() for image in found.images} == {each.tobytes() for each in images[:4]}


def test_cutmix_pastes_one_square_near_the_border() -> None:
    black, white = np.zeros((50, 20, 20, 3), np.uint8), np.full((50, 20, 20, 3), 255, np.uint8)
    mixed = sac.cutmix(black, white, 0.2, np.random.default_rng(0))
    # 4 of 20 pixels wide; the centre lies within 3 pixels of an edge, which may cut the square
    for image in mixed:
        rows, columns = np.nonzero(image[:, :, 0])
        height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        assert len(rows) == height * width
        assert max(height, width) <= 4
        for places in (rows, columns):
            assert places.min() <= 2 or places.max() >= 17
    assert len({image.tobytes() for image in mixed}) > 10


def test_cutmix_fits_images_of_one_pixel() -> None:
    mixed = sac.cutmix(
        np.zeros((2, 1, 1, 1), np.uint8),
        np.ones((2, 1, 1, 1), np.uint8),
        0.9,
        np.random.default_rng(0),
    )
    assert (mixed == 1).all()


def test_sac_m_labels_what_it_stores() -> None:
    source, images, labels = colours()
    found = craft(sac, source, images, labels, num_images=30, patch=0.5)
    assert (predict_logits(source, found.images).argmax(axis=1) == found.labels).all()
    assert (found.images != found.carriers).any(axis=(1, 2, 3)).all()
