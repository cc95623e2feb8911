"""What a bundle says about how its references can be trained again."""

import platform
from collections.abc import Sequence

import torch

from audit.bundle.retraining import Recipe, Retraining
from audit.signing.canonical import array_sha256, sha256_hex
from generator.images.labelled import ImageSet
from generator.pools.references import PoolModel
from generator.sources.source import Source


def recipe_of(
    source: Source, images: ImageSet, *, split_seed: int, epochs: float, learning_rate: float
) -> Recipe:
    """Return everything that references are trained with, but for their seed.

    Args:
        source: Gives architecture, weights' digest and ancestor.
        images: To train on.
        split_seed: By which these were taken out of the owner's images.
        epochs: Of the full recipe.
        learning_rate: Peak rate of SGD.
    """
    return Recipe(
        source_sha256=source.weights_sha256,
        architecture=source.architecture,
        ancestor_sha256=None if source.ancestor is None else source.ancestor.weights_sha256,
        images_sha256=images_digest(images),
        num_images=len(images),
        split_seed=split_seed,
        epochs=epochs,
        learning_rate=learning_rate,
    )


def images_digest(images: ImageSet) -> str:
    """Return the SHA-256 of pixels and classes in their order, in hex."""
    parts = array_sha256(images.images), array_sha256(images.labels)
    return sha256_hex(" ".join(parts).encode())


def processor() -> str:
    """Return what sums in this machine, as far as it matters for the last digits."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def retraining_of(
    recipe: Recipe, seed_from: str, references: Sequence[PoolModel], device: torch.device
) -> Retraining:
    """Return the bundle's entry.

    Args:
        recipe: Of the references.
        seed_from: Public value that their seed follows from.
        references: That take part; given ones are left out, since no recipe of ours makes them.
        device: Where they were trained.
    """
    return Retraining(
        recipe=recipe,
        seed_from=seed_from,
        device="cuda" if device.type == "cuda" else "cpu",
        num_threads=torch.get_num_threads(),
        processor=processor(),
        models={one.name: one.retrained for one in references if one.retrained is not None},
    )
