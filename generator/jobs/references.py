"""A run of ``kinprint references``: the owner's model and images in, a folder of innocents out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from generator.errors import GenerationError
from generator.jobs.owner_images import OwnerImages, read_training_images, reading_for
from generator.pools.reference_folder import make_reference_folder
from generator.pools.reference_kinds import ReferenceRecipe
from generator.sources.onnx_source import is_onnx, load_onnx_source
from generator.sources.preprocess import read_contract
from generator.sources.source import load_source
from generator.training.device import prepare_device

_MAX_EXAMPLES = 100
"""Images that a converted ONNX file is compared on."""


def run_reference_job(
    *,
    model: str,
    weights: Path | None,
    normalise: str | None,
    preprocess: str | None = None,
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
    is_file = is_onnx(model)
    if is_file == (weights is not None):
        raise GenerationError(
            "weights: expected --weights with a factory as --model, and none with an ONNX file"
        )
    contract = read_contract(normalise, preprocess)
    chosen = prepare_device(device)
    owner = OwnerImages(
        images=images, class_names=classes.split(",") if classes else None, max_images=max_images
    )
    data = read_training_images(
        owner, reading_for(contract), np.random.default_rng([recipe.seed, 0x5EF]), tell
    )
    if weights is None:
        source = load_onnx_source(
            Path(model),
            data.images[:_MAX_EXAMPLES],
            num_classes=len(data.class_names),
            contract=contract,
        )
    else:
        source = load_source(model, weights, contract)
    source.model.to(chosen)
    return make_reference_folder(
        folder,
        source,
        data,
        recipe,
        factory=None if is_file else model,
        num_references=num_references,
        on_step=on_step,
    )
