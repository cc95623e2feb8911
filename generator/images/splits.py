"""Which image serves what: no image serves two purposes.

Controls, carriers, candidates and the images that derived models are tuned on must be images that
the source was not trained on; else its own accuracy on them is no yardstick for a suspect's.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from generator.errors import ImagesError
from generator.images.labelled import ImageList, ImageSet

_OWN_SHARE = 0.6
"""Share of the owner's images that trains mimics when no others are given."""
_CONTROL_SHARE, _MAX_CONTROLS = 0.2, 200
_TUNING_SHARE = 0.35
"""Share of what is left after the controls that derived models are tuned on."""

Labelled = TypeVar("Labelled", ImageSet, ImageList)

_MIN_CLASSES = 20
"""Each part must show so many classes, or all of them if there are fewer."""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The owner's images by purpose."""

    training: ImageSet
    """Trains mimics and references."""
    controls: ImageSet
    """Asked first, to see whether a suspect can be compared at all."""
    tuning: ImageSet
    """Derived models are tuned on these."""
    candidates: ImageSet
    """Carriers of triggers and natural candidates for queries."""


@dataclass(frozen=True, kw_only=True)
class ListedSplits:
    """The same before anything is decoded."""

    training: ImageList
    controls: ImageList
    tuning: ImageList
    candidates: ImageList


def split_images(
    owner: ImageSet,
    held_out: ImageSet | None,
    *,
    max_training: int | None,
    rng: np.random.Generator,
) -> Splits:
    """Cut the images up, class-balanced and disjoint.

    Args:
        owner: The owner's images.
        held_out: Images that the source was not trained on; by default a part of ``owner``.
        max_training: Train mimics and references on at most this many.
        rng: Source of the split.

    Raises:
        ImagesError: Too few images for every purpose to see enough classes.
    """
    return Splits(**_cut(owner, held_out, max_training=max_training, max_other=None, rng=rng))


def split_list(
    owner: ImageList,
    held_out: ImageList | None,
    *,
    max_training: int | None,
    max_other: int | None = None,
    rng: np.random.Generator,
) -> ListedSplits:
    """Do the same with images that nobody has decoded.

    Args:
        owner: As of `split_images`, like the rest.
        held_out: Likewise.
        max_training: Likewise.
        max_other: Tune derived models on at most so many, and have at most so many candidates.
        rng: Likewise.

    Raises:
        ImagesError: Likewise.
    """
    return ListedSplits(
        **_cut(owner, held_out, max_training=max_training, max_other=max_other, rng=rng)
    )


def _cut(
    owner: Labelled,
    held_out: Labelled | None,
    *,
    max_training: int | None,
    max_other: int | None,
    rng: np.random.Generator,
) -> dict[str, Labelled]:
    if held_out is None:
        order = owner.balanced_order(rng)
        cut = round(_OWN_SHARE * len(order))
        owner, held_out = owner.take(order[:cut]), owner.take(order[cut:])
    order = held_out.balanced_order(rng)
    num_controls = min(_MAX_CONTROLS, round(_CONTROL_SHARE * len(order)))
    num_tuning = round(_TUNING_SHARE * (len(order) - num_controls))
    training_order = owner.balanced_order(rng)[:max_training]
    controls, tuning, candidates = np.split(order, [num_controls, num_controls + num_tuning])
    parts = {
        "training": owner.take(training_order),
        "controls": held_out.take(controls),
        "tuning": held_out.take(tuning[:max_other]),
        "candidates": held_out.take(candidates[:max_other]),
    }
    num_classes = len(owner.class_names)
    for name, part in parts.items():
        num_found = len(np.unique(part.labels))
        if num_found < min(num_classes, _MIN_CLASSES):
            counts = np.bincount(held_out.labels, minlength=num_classes)
            rarest = int(counts.argmin())
            raise ImagesError(
                f"images: too few for {num_classes} classes, the {name} part has images of "
                f"{num_found} only; give more images, or more with --held-out (there are "
                f"{len(held_out)} to judge by, {counts[rarest]} of class "
                f"{held_out.class_names[rarest]!r})"
            )
    return parts
