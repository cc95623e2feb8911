"""Which image serves what: no image serves two purposes.

Controls, carriers, candidates and the images that derived models are tuned on must be images that
the source was not trained on; else its own accuracy on them is no yardstick for a suspect's.
"""

from dataclasses import dataclass

import numpy as np

from generator.errors import ImagesError
from generator.images.labelled import ImageSet

_OWN_SHARE = 0.6
"""Share of the owner's images that trains mimics when no others are given."""
_CONTROL_SHARE, _MAX_CONTROLS = 0.2, 200
_TUNING_SHARE = 0.35
"""Share of what is left after the controls that derived models are tuned on."""

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
    if held_out is None:
        order = owner.balanced_order(rng)
        cut = round(_OWN_SHARE * len(order))
        owner, held_out = owner.take(order[:cut]), owner.take(order[cut:])
    order = held_out.balanced_order(rng)
    num_controls = min(_MAX_CONTROLS, round(_CONTROL_SHARE * len(order)))
    num_tuning = round(_TUNING_SHARE * (len(order) - num_controls))
    training_order = owner.balanced_order(rng)[:max_training]
    splits = Splits(
        training=owner.take(training_order),
        controls=held_out.take(order[:num_controls]),
        tuning=held_out.take(order[num_controls : num_controls + num_tuning]),
        candidates=held_out.take(order[num_controls + num_tuning :]),
    )
    num_classes = len(owner.class_names)
    for name, part in vars(splits).items():
        num_found = len(np.unique(part.labels))
        if num_found < min(num_classes, _MIN_CLASSES):
            raise ImagesError(
                f"images: too few for {num_classes} classes, the {name} part has images of "
                f"{num_found} only; give more images, or more with --held-out"
            )
    return splits
