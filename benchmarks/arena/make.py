"""How each member is made: from images and its parent to a network, and to an ONNX file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.arena.config import Recipe
from benchmarks.arena.data import MEAN, STD, ArenaData
from benchmarks.arena.families import build
from benchmarks.arena.members import Member
from generator.images.labelled import ImageSet
from generator.pools.extraction import Answers, extract
from generator.pools.reference_kinds import ReferenceRecipe, make_reference
from generator.pools.removal import fine_tune, prune, train_adversarially
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source, ready
from generator.training.device import seeded
from generator.training.loop import FreeAdversary, TrainingRecipe, train


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What everybody is made with."""

    recipe: Recipe
    data: ArenaData
    seed: int
    device: torch.device

    def seed_of(self, name: str) -> int:
        """Return a seed of its own for a name."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:4], "big")

    def untrained(self, family: Any, width: int, seed: int) -> Normalised:
        """Return a fresh network on the device."""
        # Initialisers draw from the global generator; fork it so that nobody else notices.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(
                family,
                width,
                stem_stride=self.recipe.stem_stride,
                num_channels=self.data.owner.images.shape[3],
                num_classes=len(self.data.owner.class_names),
            )
        return ready(Normalised(network, MEAN, STD)).to(self.device)

    def images(self, name: str) -> ImageSet:
        """Return a part of the data by the name that configs use."""
        found = {"near": self.data.attacker, "far": self.data.far}.get(name)
        return found if found is not None else getattr(self.data, name)


def source_of(workshop: Workshop, model: Normalised, weights_sha256: str) -> Source:
    """Return the source as the generator takes it."""
    recipe = workshop.recipe

    def factory() -> nn.Module:
        return workshop_network(workshop)

    return Source(
        model=model,
        factory=factory,
        architecture=f"{recipe.family}, {recipe.width} channels",
        weights_sha256=weights_sha256,
        contract=InputContract(mean=MEAN, std=STD),
    )


def workshop_network(workshop: Workshop) -> nn.Module:
    """Return the source's architecture untrained, drawn from the global generator."""
    recipe, owner = workshop.recipe, workshop.data.owner
    return build(
        recipe.family,
        recipe.width,
        stem_stride=recipe.stem_stride,
        num_channels=owner.images.shape[3],
        num_classes=len(owner.class_names),
    )


def make(workshop: Workshop, member: Member, parent: Normalised | None) -> Normalised:
    """Make a member with weights.

    Args:
        workshop: Recipe, images, seed, device.
        member: Who; not one of those that are files only.
        parent: Its parent's network.
    """
    made: Normalised = _HOW[member.how](workshop, member, parent, **member.settings)
    return made


def _train(
    workshop: Workshop,
    member: Member,
    parent: Normalised | None,
    *,
    family: str,
    width: int,
    images: str,
    epochs: float,
    num_images: int | None = None,
    radius: float = 0.0,
) -> Normalised:
    data = workshop.images(images)
    if num_images is not None:
        draw = np.random.default_rng(workshop.seed_of(member.name))
        data = data.take(data.balanced_order(draw)[:num_images])
    model = workshop.untrained(family, width, workshop.seed_of(member.name))
    recipe = TrainingRecipe(
        epochs=epochs,
        learning_rate=workshop.recipe.learning_rate,
        batch_size=min(workshop.recipe.batch_size, max(16, len(data) // 20)),
        adversary=FreeAdversary(radius=radius / 255) if radius else None,
    )
    train(model, data, recipe, generator=seeded(workshop.seed, member.name))
    return model


def _reference(
    workshop: Workshop, member: Member, parent: Normalised | None, *, number: int, epochs: float
) -> Normalised:
    assert parent is not None, "a reference has the source's architecture"
    recipe = ReferenceRecipe(
        epochs=epochs, learning_rate=workshop.recipe.learning_rate, seed=workshop.seed
    )
    return make_reference(
        source_of(workshop, parent, ""), workshop.data.owner, number, recipe
    ).model


def _fine_tune(
    workshop: Workshop,
    member: Member,
    parent: Normalised | None,
    *,
    which: str,
    learning_rate: float,
    epochs: float,
) -> nn.Module:
    assert parent is not None
    return fine_tune(
        parent,
        _tuning_images(workshop, member),
        generator=seeded(workshop.seed, member.name),
        epochs=epochs,
        learning_rate=learning_rate,
        last_layer_only=which.endswith("LL"),
        retrain_last_layer=which.startswith("RT"),
    )


def _prune(
    workshop: Workshop,
    member: Member,
    parent: Normalised | None,
    *,
    rate: float,
    epochs: float = 0.0,
) -> nn.Module:
    assert parent is not None
    pruned = prune(parent, rate)
    if not epochs:
        return pruned
    images = _tuning_images(workshop, member)
    generator = seeded(workshop.seed, member.name)
    # Fine-tuning would fill the zeros again: prune what grew back.
    return prune(fine_tune(pruned, images, generator=generator, epochs=epochs), rate)


def _harden(
    workshop: Workshop,
    member: Member,
    parent: Normalised | None,
    *,
    radius: float,
    epochs: float,
    steps: int,
) -> nn.Module:
    assert parent is not None
    return train_adversarially(
        parent,
        _tuning_images(workshop, member),
        radius=radius / 255,
        epochs=epochs,
        steps=steps,
        generator=seeded(workshop.seed, member.name),
    )


def _extract(
    workshop: Workshop,
    member: Member,
    parent: Normalised | None,
    *,
    answers: Answers,
    images: str,
    family: str,
    width: int,
    augmented: bool,
    epochs: float,
) -> Normalised:
    assert parent is not None
    asked = workshop.images(images)
    if augmented:
        asked = _altered(asked, np.random.default_rng(workshop.seed_of(member.name)))
    student = workshop.untrained(family, width, workshop.seed_of(member.name))
    recipe = TrainingRecipe(epochs=epochs, learning_rate=workshop.recipe.learning_rate)
    generator = seeded(workshop.seed, member.name)
    extract(parent, student, asked, recipe, answers=answers, generator=generator)
    return student


_HOW: dict[str, Callable[..., Any]] = {
    "train": _train,
    "reference": _reference,
    "fine-tune": _fine_tune,
    "prune": _prune,
    "harden": _harden,
    "extract": _extract,
}


def _tuning_images(workshop: Workshop, member: Member) -> ImageSet:
    """Return half of the attacker's images, or of the owner's; another half for every member."""
    data = workshop.data
    images = data.owner if member.role == "calibrating copy" else data.attacker
    draw = np.random.default_rng(workshop.seed_of(member.name + "/images"))
    return images.take(images.balanced_order(draw)[: len(images) // 2])


def _altered(images: ImageSet, rng: np.random.Generator) -> ImageSet:
    """Mix pairs of images (half of each) and add noise: queries off the data's manifold."""
    pixels = np.asarray(images.images).astype(np.float32)
    other = pixels[rng.permutation(len(pixels))]
    share = rng.uniform(0.5, 1.0, (len(pixels), 1, 1, 1)).astype(np.float32)
    noise = rng.normal(0.0, 16.0, pixels.shape).astype(np.float32)
    mixed: NDArray[np.uint8] = (
        np.clip(np.rint(share * pixels + (1 - share) * other + noise), 0, 255)
    ).astype(np.uint8)
    return ImageSet(
        np.concatenate([images.images, mixed]),
        np.concatenate([images.labels, images.labels]),
        images.class_names,
    )
