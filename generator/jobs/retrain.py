"""Some of a bundle's innocents trained again, and compared with what the bundle says of them.

Whoever doubts a bundle draws some, at random, so that an owner who invented any of them is found
out with the probability that one of these is drawn.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audit.bundle.manifest import BundleContents
from audit.bundle.retraining import Retraining
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.images.reading import read_images
from generator.jobs.owner_images import OwnerImages, reading_for, split_owner_images
from generator.jobs.reference_recipe import images_digest, processor
from generator.pools.reference_kinds import ReferenceRecipe, make_reference
from generator.sources.ancestor import load_ancestor
from generator.sources.contract import InputContract
from generator.sources.programs import is_program, open_source
from generator.sources.source import Source, load_architecture, weights_digest
from generator.sources.torch_suspect import TorchSuspect, answer_all
from generator.training.device import prepare_device

Tell = Callable[[str], None]


class Likeness(StrEnum):
    """What a model that was trained again says about the bundle's."""

    SAME = "same weights"
    ALIKE = "same answers, almost"
    """Where other libraries, processors or threads sum in another order."""
    OTHER = "other answers"


MIN_AGREEMENT = 0.95
"""Share of answers that a training which differs in rounding only keeps (measured: at least 0.99
of those of short trainings; another seed kept at most 0.88)."""


@dataclass(frozen=True, kw_only=True)
class RetrainedInnocent:
    """One innocent, trained again."""

    name: str
    provenance: str
    """As the bundle says."""
    likeness: Likeness
    num_agreeing: int
    """Answers to control images and queries that are the bundle's."""
    num_answers: int


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """All that were drawn."""

    innocents: tuple[RetrainedInnocent, ...]
    draw: int
    """Seed of the draw."""
    differences: tuple[str, ...]
    """In what this machine differs from the one that trained the bundle's, as far as it says."""

    @property
    def num_other(self) -> int:
        """Return how many answer otherwise than the bundle says."""
        return sum(one.likeness is Likeness.OTHER for one in self.innocents)


@dataclass(frozen=True, kw_only=True)
class OwnersThings:
    """What an owner hands over: code and images, no weights."""

    model: str
    """Factory, or a whole model's file."""
    images: Sequence[Path]
    held_out: Sequence[Path] = ()
    class_names: Sequence[str] | None = None
    ancestor: str | None = None


def retrain(
    bundle: BundleContents,
    things: OwnersThings,
    num: int,
    *,
    draw: int,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    on_step: Callable[[int, int], None] = lambda done, total: None,
    tell: Tell = lambda text: None,
) -> Retrained:
    """Train some of a bundle's calibrating innocents again.

    Args:
        bundle: With a `Retraining`.
        things: The owner's.
        num: How many; all, if there are fewer.
        draw: Seed that decides which.
        device: Where.
        on_step: Called with (steps done, steps in all) in thousandths of a model.
        tell: Says what a user should know on the way.

    Raises:
        GenerationError: No innocent of the bundle can be trained again, or what is given is not
            what the bundle's innocents were made with.
    """
    retraining = bundle.manifest.retraining
    rows = {
        model.name: row
        for row, model in enumerate(bundle.manifest.calibration_models)
        if retraining is not None and model.name in retraining.models
    }
    if retraining is None or not rows:
        raise GenerationError(
            "retrain: no innocent of this bundle can be trained again: who they are is the owner's "
            "word; bundles of 'kinprint craft --seed-from' say how"
        )
    chosen = prepare_device(device)
    if chosen.type == "cpu":
        torch.set_num_threads(retraining.num_threads)
    images, source = _opened(bundle, retraining, things, tell)
    source.model.to(chosen)
    names = sorted(rows)
    drawn = np.random.default_rng(draw).permutation(len(names))[:num]
    asked = np.concatenate([bundle.arrays.controls, bundle.arrays.queries])
    innocents = []
    for place, index in enumerate(sorted(drawn)):
        name = names[index]
        model = retraining.models[name]
        recipe = ReferenceRecipe(
            epochs=retraining.recipe.epochs,
            learning_rate=retraining.recipe.learning_rate * model.rate,
            seed=retraining.seed,
        )

        def report(step: int, total: int, place: int = place) -> None:
            on_step(place * 1000 + 1000 * step // total, len(drawn) * 1000)

        made = make_reference(source, images, model.number, recipe, on_step=report).model
        answers = answer_all(TorchSuspect(name, made), asked).argmax(axis=1)
        innocents.append(
            _compared(bundle, rows[name], answers, weights_sha256=weights_digest(made))
        )
    return Retrained(
        innocents=tuple(innocents),
        draw=draw,
        differences=tuple(_differences(bundle, retraining, chosen)),
    )


def _opened(
    bundle: BundleContents, retraining: Retraining, things: OwnersThings, tell: Tell
) -> tuple[ImageSet, Source]:
    """Return the training images and the untrained network, if they are those of the bundle."""
    recipe, task = retraining.recipe, bundle.manifest.task
    contract = InputContract.of(bundle.manifest.preprocessing)
    reading = reading_for(contract)
    owner = OwnerImages(
        images=things.images,
        held_out=things.held_out,
        class_names=things.class_names,
        max_images=recipe.num_images,
    )
    rng = np.random.default_rng([recipe.split_seed, 0x1A6E5])
    listed = split_owner_images(owner, reading, rng, tell)
    (controls, images), _ = read_images(
        [listed.controls, listed.training], replace(reading, channels=task.channels)
    )
    if images_digest(images) != recipe.images_sha256:
        raise GenerationError(
            f"images: expected the {recipe.num_images} images that the bundle's innocents were "
            f"trained on, got {len(images)} others; give --images, --held-out and --classes as "
            "'kinprint craft' got them"
        )
    if is_program(things.model):
        source = open_source(
            things.model, None, contract, controls.images, num_classes=task.num_classes
        )
    else:
        source = load_architecture(
            things.model, contract, images=controls.images, num_classes=task.num_classes
        )
    return images, _with_ancestor(source, things.ancestor, recipe.ancestor_sha256)


def _with_ancestor(source: Source, spec: str | None, expected: str | None) -> Source:
    if spec is None and expected is None:
        return source
    found = None if spec is None else load_ancestor(spec, source.model.network)
    digest = None if found is None else found.weights_sha256
    if digest != expected:
        raise GenerationError(
            f"ancestor: expected {_named(expected)}, as the bundle's innocents had it, got "
            f"{_named(digest)}"
        )
    return replace(source, ancestor=found)


def _named(digest: str | None) -> str:
    return "none" if digest is None else f"weights with SHA-256 {digest[:16]}..."


def _compared(
    bundle: BundleContents, row: int, answers: NDArray[np.int64], *, weights_sha256: str
) -> RetrainedInnocent:
    said = bundle.manifest.calibration_models[row]
    arrays = bundle.arrays
    labels = np.concatenate([arrays.model_control_labels[row], arrays.model_query_labels[row]])
    num_agreeing = int((answers == labels).sum())
    if num_agreeing < MIN_AGREEMENT * len(labels):
        likeness = Likeness.OTHER
    elif weights_sha256 == said.weights_sha256 and num_agreeing == len(labels):
        likeness = Likeness.SAME
    else:
        likeness = Likeness.ALIKE
    return RetrainedInnocent(
        name=said.name,
        provenance=said.provenance,
        likeness=likeness,
        num_agreeing=num_agreeing,
        num_answers=len(labels),
    )


def _differences(bundle: BundleContents, retraining: Retraining, device: torch.device) -> list[str]:
    here = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "torch", "kinprint")},
    }
    there = bundle.manifest.libraries
    told = [
        f"{name} {here[name]}, {there[name]} there"
        for name in here.keys() & there.keys()
        if here[name] != there[name]
    ]
    if (here_too := processor()) != retraining.processor:
        told.append(f"processor {here_too}, {retraining.processor} there")
    if device.type != retraining.device:
        told.append(f"trained on {device.type}, there on {retraining.device}")
    return sorted(told)
