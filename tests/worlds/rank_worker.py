"""What one of several processes does in the tests: the parts of crafting that are shared out.

Started by ``torchrun``; writes what it got to ``<folder>/<rank>.safetensors``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from generator.crafting.contrast import contrast_objective
from generator.crafting.ensemble import Ensemble
from generator.images.labelled import ImageSet
from generator.pools.copies import CopyImages, make_copies
from generator.pools.mimics import MimicSettings, make_mimics
from generator.pools.references import train_references
from generator.pools.students import SELECTION, make_students
from generator.sources.contract import InputContract
from generator.sources.source import Source
from generator.training.device import prepare_device
from generator.training.ranks import current_ranks, together
from worlds.tiny_task import MEAN, STD, tiny_images, tiny_net, trained_net


def shared_work(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Make pools and a gradient; every process calls it."""
    prepare_device("cpu")
    images = tiny_images(90, 1)
    model = trained_net(1, images)
    source = Source(
        model=model,
        factory=tiny_net,
        architecture="tiny",
        weights_sha256="",
        contract=InputContract(mean=MEAN, std=STD),
    )
    settings = MimicSettings(num_mimics=3, batch_size=32)
    mimics, _ = make_mimics(model, images, settings, seed=0, work=folder)
    references = train_references(
        source, images, num_references=3, epochs=1, learning_rate=0.02, seed=0
    )
    seen = ImageSet(*vars(images).values())
    copies = make_copies(
        model, mimics, CopyImages(tuning=seen, training=seen), seed=0, hardening_epochs=1
    )
    students = make_students(
        source, images, SELECTION, epochs=1, learning_rate=0.02, seed=0, work=folder
    )
    found: dict[str, NDArray[np.float64]] = {}
    for kind, models in (
        ("mimic", mimics),
        ("reference", [one.network for one in references]),
        ("derived", [one.network for one in [*copies.selection, *copies.calibration]]),
        ("student", [one.network for one in students]),
    ):
        for number, one in enumerate(models):
            assert one is not None
            weights = [tensor.double().flatten() for tensor in one.state_dict().values()]
            found[f"{kind}-{number}"] = torch.cat(weights).numpy()
    # Groups of three and of one, two innocents: the processes' shares are not alike.
    contrast = contrast_objective(
        [mimics, [source.sibling(1)]],
        [[one.network for one in references[:2] if one.network is not None]],
        epsilon=0.05,
    )
    for kind, objective in (
        ("triggers", Ensemble(mimics).losses_and_gradients),
        ("contrast", contrast),
        ("one-model", contrast_objective([mimics[:1]], [], epsilon=0.05)),
    ):
        losses, signs = objective(images.images[:20], images.labels[:20])
        found[f"{kind}-losses"] = losses
        found[f"{kind}-signs"] = np.ascontiguousarray(signs, dtype=np.float64)
    return found


if __name__ == "__main__":
    with together("cpu"):
        made = shared_work(Path(sys.argv[1]))
        save_file(made, Path(sys.argv[1]) / f"{current_ranks().rank}.safetensors")
