"""Which innocents count as one: declared by folder or listing, found by weights or mistakes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.record_builder import audited_contents

from audit.calibrating.lineages import Lineage, declared_place, find_lineages, with_lineages

K, NUM_IMAGES = 10, 200


def networks(num: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Truth ``[C]`` and the answers of networks that were trained apart, ``[R, C]``.

    A third of the images are hard: there each network is wrong in three of four cases, with the
    image's usual mistake in half of them. Elsewhere it is wrong once in ten.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, NUM_IMAGES)
    is_hard, usual = rng.random(NUM_IMAGES) < 1 / 3, (truth + rng.integers(1, K, NUM_IMAGES)) % K
    is_wrong = rng.random((num, NUM_IMAGES)) < np.where(is_hard, 0.75, 0.1)
    other = (truth + rng.integers(1, K, (num, NUM_IMAGES))) % K
    mistake = np.where(rng.random((num, NUM_IMAGES)) < 0.5, usual, other)
    return truth, np.where(is_wrong, mistake, truth)


def variant(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return answers of which a share was drawn anew."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(labels.shape) < share, rng.integers(0, K, labels.shape), labels)


def found(
    labels: NDArray[np.int64],
    truth: NDArray[np.int64],
    *,
    declared: dict[int, str] | None = None,
    digests: dict[int, str] | None = None,
) -> list[Lineage]:
    every = range(len(labels))
    return find_lineages(
        labels,
        truth,
        names=[f"net {number}" for number in every],
        digests=[(digests or {}).get(number, str(number)) for number in every],
        declared=[(declared or {}).get(number) for number in every],
    )


@pytest.mark.parametrize("seed", range(5))
def test_networks_that_were_trained_apart_are_lineages_of_their_own(seed: int) -> None:
    truth, labels = networks(24, seed)
    assert found(labels, truth) == []


def test_variants_of_one_network_are_found_by_their_mistakes() -> None:
    truth, labels = networks(12)
    more = np.array([*labels, variant(labels[3], 0.1, 1), variant(labels[3], 0.1, 2)])
    assert found(more, truth) == [Lineage(name="net 3", members=(3, 12, 13), is_found=True)]


def test_many_variants_of_few_networks_are_few_lineages() -> None:
    truth, labels = networks(3)
    files = np.array([variant(labels[number % 3], 0.05, number) for number in range(99)])
    lineages = found(files, truth)
    assert [len(lineage.members) for lineage in lineages] == [33, 33, 33]
    assert lineages[0].members == tuple(range(0, 99, 3))


def test_models_of_few_errors_are_not_joined_by_chance() -> None:
    # Two wrong answers, both shared: that happens, whoever the two are.
    truth = np.arange(100) % K
    labels = np.tile(truth, (8, 1))
    for row in range(8):
        labels[row, row * 10 + 20] += 1
    labels[0, :2] += 1
    labels[1, :2] += 1
    assert found(labels % K, truth) == []


def test_the_same_weights_are_one_network_whatever_they_answer() -> None:
    truth, labels = networks(4)
    (lineage,) = found(labels, truth, digests={1: "same", 3: "same"})
    assert (lineage.members, lineage.is_found) == ((1, 3), True)


def test_what_is_declared_is_believed_and_not_told_as_found() -> None:
    truth, labels = networks(4)
    (lineage,) = found(labels, truth, declared={0: "run 7", 2: "run 7"})
    assert lineage == Lineage(name="run 7", members=(0, 2), is_found=False)


def test_a_declared_lineage_that_answers_like_another_is_joined_with_it() -> None:
    truth, labels = networks(8)
    more = np.array([*labels, variant(labels[0], 0.05, 1)])
    (lineage,) = found(more, truth, declared={0: "run 1", 1: "run 1", 8: "run 2"})
    assert lineage == Lineage(name="run 1", members=(0, 1, 8), is_found=True)


def test_a_bundles_innocents_get_the_name_and_derived_models_none() -> None:
    bundle = audited_contents()
    truth, labels = networks(len(bundle.manifest.calibration_models))
    labels[5] = labels[4]
    manifest, (told,) = with_lineages(bundle.manifest, truth, labels)
    named = {model.name: model.lineage for model in manifest.models if model.lineage}
    innocents = [one.name for one in manifest.calibration_models if one.role == "innocent"]
    first, second = innocents[4], innocents[5]
    assert named == {first: first, second: first}
    assert told == (
        f"'{first}', '{second}' have the same weights or make the same mistakes: they count as "
        f"one lineage, '{first}'."
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a.onnx", ("given", None)),
        ("same recipe/a.onnx", ("same recipe", None)),
        ("same recipe/net 3/a.onnx", ("same recipe", "same recipe/net 3")),
        ("kind/net/deep/a.onnx", ("kind", "kind/net/deep")),
    ],
)
def test_folders_declare_kind_and_lineage(path: str, place: tuple[str, str | None]) -> None:
    assert declared_place(Path("root") / path, Path("root")) == place
