"""What crafting tells an owner about models that lost their accuracy, or calibrate oddly."""

import dataclasses

from worlds.audit_world import NUM_MODELS, known_bundle

from generator.jobs.mfue import Crafted
from generator.jobs.remarks import remarks


def crafted(*, odd: int = 0) -> Crafted:
    """A bundle in which the first derived calibration models answer as innocents do."""
    known = known_bundle()
    labels = known.arrays.model_query_labels.copy()
    labels[NUM_MODELS : NUM_MODELS + odd] = labels[0]
    return Crafted(
        manifest=known.manifest,
        arrays=dataclasses.replace(known.arrays, model_query_labels=labels),
        num_mimics_found=0,
        summary="",
        left_out=("hardened-8 (hardened) gets 11% of the control images right",),
    )


def test_models_that_take_no_part_are_told() -> None:
    assert remarks(crafted()) == ["hardened-8 (hardened) gets 11% of the control images right"]


def test_a_copy_that_scores_like_an_innocent_is_named_with_both_scores() -> None:
    told = remarks(crafted(odd=2))[1:]
    # log(0.2) - log(0.75) = -1.32 nats for each answer of class 1
    assert told == [
        f"derived-{number} ({kind}) scores like an innocent (-1.32, and one reaches -1.32): more "
        "suspects will be left undecided because of it"
        for number, kind in ((0, "even"), (1, "odd"))
    ]
