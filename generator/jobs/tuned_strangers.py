"""A judge's innocents fine-tuned a little: a claim about innocents is one about those, too.

For ``kinprint challenge --fine-tune``. The files are the judge's own and are converted in this
process, as the owner's file is in crafting.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adapters.printable import printable
from adapters.suspect import Suspect
from audit.bundle.manifest import BundleContents
from audit.calibrating.changed_models import ModelChange
from generator.errors import GenerationError, SourceError
from generator.images.labelled import ImageSet
from generator.jobs.owner_images import OwnerImages, read_training_images, reading_for
from generator.pools.removal import fine_tune
from generator.sources.contract import InputContract
from generator.sources.onnx_source import load_onnx_source
from generator.sources.torch_suspect import TorchSuspect

FINE_TUNED = "fine-tuned"

_MAX_IMAGES = 1000
_EPOCHS = 2
_LEARNING_RATE = 0.003
"""Of plain SGD, which moves a network and keeps its accuracy."""

Tell = Callable[[str], None]


def fine_tuning(
    bundle: BundleContents,
    images: Sequence[Path],
    *,
    class_names: Sequence[str] | None = None,
    tell: Tell = lambda text: None,
) -> Mapping[str, ModelChange]:
    """Return fine-tuning as a change that a challenge may try.

    Args:
        bundle: Says which classes there are, and how images become the networks' input.
        images: The judge's own labelled images.
        class_names: In the order of the bundle's, where folders are called otherwise.
        tell: Says which files cannot be fine-tuned, and why.

    Raises:
        GenerationError: The images cannot be read, or are of other classes.
    """
    contract = InputContract.of(bundle.manifest.preprocessing)
    task = bundle.manifest.task
    owner = OwnerImages(
        images=images, class_names=class_names or task.class_names, max_images=_MAX_IMAGES
    )
    read = read_training_images(owner, reading_for(contract), np.random.default_rng(0), tell)
    expected = bundle.arrays.controls.shape[1:]
    if read.images.shape[1:] != expected:
        raise GenerationError(
            f"images: expected pictures {_size(expected)} as the bundle's are, got "
            f"{_size(read.images.shape[1:])}"
        )
    return {FINE_TUNED: partial(_fine_tuned, read, contract, tell)}


def _fine_tuned(
    images: ImageSet, contract: InputContract, tell: Tell, paths: Sequence[Path]
) -> Iterator[tuple[Path, Suspect | None]]:
    for number, path in enumerate(paths):
        try:
            source = load_onnx_source(
                path, images.images, num_classes=len(images.class_names), contract=contract
            )
        except SourceError as error:
            tell(f"Not fine-tuned: {printable(str(error))}")
            yield path, None
            continue
        tuned = fine_tune(
            source.model,
            images,
            generator=torch.Generator().manual_seed(number),
            epochs=_EPOCHS,
            learning_rate=_LEARNING_RATE,
        )
        yield path, TorchSuspect(path.name, tuned)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
