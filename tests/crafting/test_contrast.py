"""Contrast queries over views of an image, and hardened copies against hardened innocents."""

import numpy as np
import pytest
from worlds.linear_model import LinearModel

from generator.crafting.contrast import contrast_objective, craft_contrast
from generator.crafting.descent import DescentSettings
from generator.crafting.queries import choose_queries
from generator.crafting.views import coarse, keep, mirror, shift, views_of
from generator.errors import GenerationError
from generator.sources.torch_suspect import TorchSuspect

CARRIER = np.full((1, 1, 2, 1), 100, dtype=np.uint8)
SETTINGS = DescentSettings(radius=8, min_improvement=0.0)


def test_a_query_over_both_sides_goes_where_the_mirrored_image_follows() -> None:
    # Class 1 gains 9 by the left pixel and loses 3 by the right one. Seen from both sides, each
    # pixel gains 9 - 3.
    derived = LinearModel([[0.0, 0.0], [9.0, -3.0]])
    plain = craft_contrast([[derived]], [], CARRIER, np.array([1]), SETTINGS, epsilon=0.05)
    both = craft_contrast(
        [[derived]], [], CARRIER, np.array([1]), SETTINGS, epsilon=0.05, views=(keep, mirror)
    )
    assert plain.images[0, 0, :, 0].tolist() == [108, 92]
    assert both.images[0, 0, :, 0].tolist() == [108, 108]


def test_views_are_dealt_out_so_that_every_one_is_seen() -> None:
    # Two models, two views: the first sees the image, the second its mirror. Only the left pixel
    # counts for either, so that the first wants the left one bright, the second the right one.
    left = LinearModel([[0.0, 0.0], [9.0, 0.0]])
    made = craft_contrast(
        [[left, left]], [], CARRIER, np.array([1]), SETTINGS, epsilon=0.05, views=(keep, mirror)
    )
    assert made.images[0, 0, :, 0].tolist() == [108, 108]
    alone = craft_contrast(
        [[left, left]], [], CARRIER, np.array([1]), SETTINGS, epsilon=0.05, views=(keep,)
    )
    assert alone.images[0, 0, :, 0].tolist() == [108, 100]


def test_every_group_of_innocents_counts_the_same() -> None:
    # Three innocents never say class 1, the only hardened one always does.
    never, always = (
        LinearModel([[0.0] * 2] * 2, [99.0, 0.0]),
        LinearModel([[0.0] * 2] * 2, [0, 99.0]),
    )
    derived = [[LinearModel([[0.0] * 2] * 2)]]
    losses, _ = contrast_objective(derived, [[never] * 3, [always]], epsilon=0.05)(
        CARRIER, np.array([1])
    )
    # log 2 of an undecided derived model; logs of 0.05 and 1.05, half of each
    expected = np.log(2) + (np.log(0.05) + np.log(1.05)) / 2
    assert losses[0] == pytest.approx(expected, abs=1e-5)


def test_queries_that_deployments_do_not_keep_are_not_chosen() -> None:
    # The first colour decides. Deployments answer as copies do where the second one is dark.
    copies = TorchSuspect("copy", LinearModel([[0.0] * 3, [20.0, 0, 0]], [5.0, 0]))
    deployed = TorchSuspect("deployed", LinearModel([[0.0] * 3, [20.0, -40.0, 0]], [5.0, 0]))
    innocent = TorchSuspect("innocent", LinearModel([[0.0] * 3] * 2, [5.0, 0]))
    images = np.zeros((60, 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = 200
    images[30:, 0, 0, 1] = 255

    def chosen(*deployments: TorchSuspect) -> list[int]:
        found = choose_queries(
            [images],
            [[copies]],
            deployments,
            [innocent],
            num_queries=60,
            epsilon=0.05,
            rng=np.random.default_rng(0),
        )
        return sorted(found.images[:, 0, 0, 1].tolist())

    assert chosen(deployed) == [0] * 30
    assert chosen(copies, deployed) == [0] * 30 + [255] * 30  # half of them keep it
    assert len(chosen()) == 60
    images[10:, 0, 0, 1] = 255
    with pytest.raises(GenerationError, match=r"queries: expected at least 20 .* got 10 of 60"):
        chosen(deployed)


def test_views_mirror_only_where_the_source_takes_mirrored_images() -> None:
    assert views_of(is_mirrored=True)[:3] == (keep, mirror, coarse)
    assert views_of(is_mirrored=False)[:2] == (keep, coarse)
    assert mirror not in views_of(is_mirrored=False)
    assert shift not in views_of(is_mirrored=False)  # only with what blurs
