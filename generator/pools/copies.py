"""Derived models for the likelihood ratio: the source after common changes of its weights.

Two disjoint families: one shapes the queries, the other only sets thresholds. No two members share
a setting, so that a calibration model is never a copy of a selection model.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import nn

from generator.images.labelled import ImageSet
from generator.pools.references import PoolModel, torch_pool_model
from generator.pools.removal import (
    add_weight_noise,
    fine_tune,
    prune,
    quantise_weights,
    train_adversarially,
)
from generator.training.device import seeded
from generator.training.ranks import current_ranks


def make_derived(
    source: nn.Module,
    mimics: Sequence[nn.Module],
    data: ImageSet,
    *,
    seed: int,
    with_selection: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[PoolModel], list[PoolModel]]:
    """Make derived models for selection and for calibration.

    Args:
        source: Logits from pixels in [0, 1].
        mimics: Snapshots under adversarial fine-tuning, in order.
        data: Labelled images that are no candidates for queries.
        seed: Source of every random draw.
        with_selection: Whether to make those for selection; without, there are none.
        on_step: Called with (models done, models in all).
    """
    # Copies that shape queries and copies that calibrate learn from different images.
    halves = np.random.default_rng([seed, 1]).permutation(len(data))
    first, second = (
        data.take(half) for half in (halves[: len(data) // 2], halves[len(data) // 2 :])
    )

    def tuned(images: ImageSet, name: str, **options: float | bool) -> nn.Module:
        return fine_tune(source, images, generator=seeded(seed, name), **options)  # type: ignore[arg-type]

    def noisy(relative: float, name: str) -> nn.Module:
        return add_weight_noise(source, relative, generator=seeded(seed, name))

    def hardened(images: ImageSet, radius: float, name: str) -> nn.Module:
        generator = seeded(seed, name)
        return train_adversarially(
            source, images, radius=radius, epochs=3, steps=3, generator=generator
        )

    # A mimic serves one purpose; small pools have fewer than two for each.
    last, num = len(mimics) - 1, len(mimics)
    for_selection = sorted({num // 2, last})
    for_calibration = sorted({0, 3 * num // 4} - set(for_selection))

    def snapshots(numbers: list[int]) -> list[tuple[str, str, Callable[[], nn.Module]]]:
        return [
            (f"mimic-{number}", "adversarially fine-tuned", partial(mimics.__getitem__, number))
            for number in numbers
        ]

    selection: list[tuple[str, str, Callable[[], nn.Module]]] = [
        ("source", "copy", lambda: source),
        *snapshots(for_selection),
        ("pruned-25", "pruned", lambda: prune(source, 0.25)),
        ("pruned-45", "pruned", lambda: prune(source, 0.45)),
        ("tuned-01", "fine-tuned", lambda: tuned(first, "tuned-01", epochs=4)),
        (
            "retrained-head-a",
            "fine-tuned",
            lambda: tuned(first, "head-a", epochs=6, retrain_last_layer=True),
        ),
        (
            "hardened-8",
            "adversarially fine-tuned",
            lambda: hardened(first, 8 / 255, "hardened-8"),
        ),
        ("noise-20", "weight noise", lambda: noisy(0.2, "noise-20")),
        ("rounded-5", "quantised", lambda: quantise_weights(source, 5)),
    ]
    calibration: list[tuple[str, str, Callable[[], nn.Module]]] = [
        *snapshots(for_calibration),
        ("pruned-15", "pruned", lambda: prune(source, 0.15)),
        ("pruned-35", "pruned", lambda: prune(source, 0.35)),
        ("pruned-50", "pruned", lambda: prune(source, 0.50)),
        ("tuned-002", "fine-tuned", lambda: tuned(second, "tuned-002", learning_rate=0.002)),
        ("tuned-02", "fine-tuned", lambda: tuned(second, "tuned-02", learning_rate=0.02)),
        (
            "head-only",
            "fine-tuned",
            lambda: tuned(second, "head-only", last_layer_only=True, retrain_last_layer=True),
        ),
        (
            "retrained-head-b",
            "fine-tuned",
            lambda: tuned(second, "head-b", epochs=6, retrain_last_layer=True),
        ),
        (
            "hardened-2",
            "adversarially fine-tuned",
            lambda: hardened(second, 2 / 255, "hardened-2"),
        ),
        ("noise-15", "weight noise", lambda: noisy(0.15, "noise-15")),
        ("rounded-8", "quantised", lambda: quantise_weights(source, 8)),
    ]
    if not with_selection:
        selection = []
    total = len(selection) + len(calibration)
    ranks = current_ranks()
    models: list[nn.Module] = []
    for number, (_, _, build) in enumerate([*selection, *calibration]):
        is_mine = ranks.owner(number) == ranks.rank
        # Somebody else's is a place of the right shape, which `share` fills.
        models.append(build() if is_mine else copy.deepcopy(source))
        if on_step is not None:
            on_step(len(models), total)
    made: list[PoolModel] = []
    for number, (name, stratum, _) in enumerate([*selection, *calibration]):
        ranks.share(models[number], ranks.owner(number))
        made.append(
            torch_pool_model(
                models[number],
                name=name,
                role="derived",
                stratum=stratum,
                provenance=f"derived from the source: {stratum} ({name})",
            )
        )
    return made[: len(selection)], made[len(selection) :]
