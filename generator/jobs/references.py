"""A run of ``kinprint references``: the owner's model and images in, a folder of innocents out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from generator.jobs.ancestry import with_ancestor
from generator.jobs.owner_images import OwnerImages, read_training_images, reading_for
from generator.pools.reference_folder import make_reference_folder
from generator.pools.reference_kinds import ReferenceRecipe
from generator.sources.check import check_on_images
from generator.sources.preprocess import read_contract, usual_preprocess
from generator.sources.programs import is_program, open_source, require_weights
from generator.training.device import prepare_device

_MAX_EXAMPLES = 100
"""Images that the model is checked on."""


def run_reference_job(
    *,
    model: str,
    weights: Path | None,
    normalise: str | None,
    preprocess: str | None = None,
    ancestor: str | None = None,
    images: Sequence[Path],
    classes: str | None,
    folder: Path,
    num_references: int,
    recipe: ReferenceRecipe,
    max_images: int | None,
    device: Literal["auto", "cpu", "cuda"],
    on_step: Callable[[int, int], None],
    tell: Callable[[str], None] = lambda text: None,
) -> int:
    """Make what is missing in the folder and return how many were there.

    Args:
        model: Factory, or ONNX file.
        weights: Of the factory's network; None for an ONNX file.
        normalise: ``mean/std``.
        preprocess: As `generator.sources.preprocess.read_contract` takes it.
        ancestor: What the model was fine-tuned from, as ``--ancestor`` takes it.
        images: Folders or ZIP files of class folders.
        classes: Class names in the model's order, comma-separated.
        folder: Where the references go.
        num_references: How many there shall be.
        recipe: How they are trained.
        max_images: Train on at most so many.
        device: Where.
        on_step: Progress.
        tell: Says what a user should know on the way.

    Raises:
        GenerationError: Something about the input does not fit.
    """
    require_weights(model, weights is not None)
    contract = read_contract(normalise, preprocess or usual_preprocess(model, normalise))
    chosen = prepare_device(device)
    owner = OwnerImages(
        images=images, class_names=classes.split(",") if classes else None, max_images=max_images
    )
    data = read_training_images(
        owner, reading_for(contract), np.random.default_rng([recipe.seed, 0x5EF]), tell
    )
    examples = data.take(np.arange(min(_MAX_EXAMPLES, len(data))))
    source = open_source(
        model, weights, contract, examples.images, num_classes=len(data.class_names)
    )
    source = with_ancestor(source, ancestor, tell)
    source.model.to(chosen)
    for note in check_on_images(source, examples).notes:
        tell(note)
    return make_reference_folder(
        folder,
        source,
        data,
        recipe,
        factory=None if is_program(model) else model,
        num_references=num_references,
        on_step=on_step,
    )
