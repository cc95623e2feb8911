"""Kinds of innocent models, and how one of each is made from the owner's images.

Innocents must include weak ones and ones of the source's own recipe, or a score that only sees
weak training, or shared data, looks perfect (docs/verdict.md).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from generator.images.labelled import ImageSet
from generator.pools.extraction import extract
from generator.pools.head_training import head_epochs, train_head
from generator.pools.removal import fine_tune, prune
from generator.sources.source import Normalised, Source, ready
from generator.sources.untrained import Architecture, untrained
from generator.training.device import seeded
from generator.training.loop import FreeAdversary, TrainingRecipe, train


@dataclass(frozen=True, kw_only=True)
class ReferenceKind:
    """One way of making an innocent."""

    stratum: str
    epochs: float = 1.0
    """Relative to the full recipe's."""
    share: float = 1.0
    """Share of the images."""
    radius: float = 0.0
    """L-infinity radius of free adversarial training, in [0, 1] pixel units."""
    architecture: Architecture = "source"
    is_distilled: bool = False
    """Learns another innocent's answers instead of the labels."""
    pruning: float = 0.0
    """Share of the weights that is zeroed after training."""
    is_tuned: bool = False
    """Trained on one half of the images, fine-tuned on the other."""
    has_ancestor: bool = False
    """Begins as the public checkpoint that the source began from."""
    is_head_only: bool = False
    """Trains nothing but the head of the ancestor."""
    rate: float = 1.0
    """Relative to the recipe's learning rate."""


KINDS = (
    ReferenceKind(stratum="same recipe"),
    ReferenceKind(stratum="weak", epochs=0.4),
    ReferenceKind(stratum="same recipe"),
    ReferenceKind(stratum="adversarially trained", radius=4 / 255),
    ReferenceKind(stratum="weak", share=0.3),
    ReferenceKind(stratum="same recipe"),
    ReferenceKind(stratum="other architecture", architecture="residual"),
    ReferenceKind(stratum="distilled", is_distilled=True),
    ReferenceKind(stratum="same recipe"),
    ReferenceKind(stratum="pruned", pruning=0.4),
    ReferenceKind(stratum="same recipe"),
    ReferenceKind(stratum="fine-tuned elsewhere", is_tuned=True),
    ReferenceKind(stratum="other architecture", architecture="plain"),
)
"""Taken in turn; siblings of the source, the hardest ones to tell apart, come most often."""


_ALL = "same ancestor, all layers"
_HEAD = "same ancestor, head only"
ANCESTOR_KINDS = (
    ReferenceKind(stratum=_ALL, has_ancestor=True, epochs=0.4, rate=0.1),
    ReferenceKind(stratum=_HEAD, has_ancestor=True, is_head_only=True, share=0.5),
    ReferenceKind(stratum=_ALL, has_ancestor=True, epochs=0.6, rate=0.1, share=0.5),
    ReferenceKind(stratum=_ALL, has_ancestor=True, epochs=0.4, rate=0.03),
    ReferenceKind(stratum=_HEAD, has_ancestor=True, is_head_only=True, share=0.8, rate=0.3),
    ReferenceKind(stratum=_ALL, has_ancestor=True, epochs=0.6, rate=0.03, share=0.5),
)
"""The same for a source that was fine-tuned from a public checkpoint: so are its innocents."""


def kinds_of(source: Source) -> tuple[ReferenceKind, ...]:
    """Return the kinds of innocents that a source is compared with."""
    return KINDS if source.ancestor is None else ANCESTOR_KINDS


def kind_of(source: Source, number: int) -> ReferenceKind:
    """Return the kind of the innocent with a number."""
    kinds = kinds_of(source)
    return kinds[number % len(kinds)]


@dataclass(frozen=True, kw_only=True)
class ReferenceRecipe:
    """What all references of an owner share."""

    epochs: float
    """Of the full recipe."""
    learning_rate: float
    """Peak rate of SGD."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class MadeReference:
    """An innocent model."""

    model: Normalised
    kind: ReferenceKind
    provenance: str


def make_reference(
    source: Source,
    data: ImageSet,
    number: int,
    recipe: ReferenceRecipe,
    *,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> MadeReference:
    """Train the innocent with a number; the same number gives the same model.

    Args:
        source: Gives the architecture; its weights are not used.
        data: The owner's labelled images.
        number: Decides kind and draws.
        recipe: Epochs, learning rate, seed.
        on_step: Called with (steps done, steps in all).
    """
    kind, seed = kind_of(source, number), recipe.seed
    draw = np.random.default_rng([seed, number])
    kept = data.take(data.balanced_order(draw)[: max(2, round(kind.share * len(data)))])
    first = kept
    if kind.is_tuned:
        # Two halves without an image in common: "elsewhere" is what the first one never saw.
        first, kept = kept.take(np.arange(0, len(kept), 2)), kept.take(np.arange(1, len(kept), 2))
    num_passes = 2 if kind.is_distilled or kind.is_tuned else 1
    device = next(source.model.parameters()).device

    def trained(images: ImageSet, role: str, teacher: nn.Module | None, done: int) -> Normalised:
        model = _untrained(source, kind, images, seed * 1000 + number, role).to(device)
        told = _training(kind, recipe, images)
        draws = seeded(seed, role, number)

        def report(step: int, total: int) -> None:
            on_step(done * total + step, num_passes * total)

        if kind.is_head_only:
            train_head(model, source, images, told, generator=draws, on_step=report)
        elif teacher is not None:
            extract(teacher, model, images, told, answers="soft", generator=draws, on_step=report)
        else:
            train(model, images, told, generator=draws, on_step=report)
        return model

    teacher = trained(kept, "teacher", None, 0) if kind.is_distilled else None
    # A teacher is trained first and is itself no reference: only its student is kept.
    model: nn.Module = trained(first, "reference", teacher, num_passes - 1 if teacher else 0)
    if kind.is_tuned:
        model = fine_tune(
            model,
            kept,
            generator=seeded(seed, "elsewhere", number),
            epochs=max(1.0, recipe.epochs / 4),
            learning_rate=recipe.learning_rate / 10,
        )
    if kind.pruning:
        model = prune(model, kind.pruning)
    assert isinstance(model, Normalised), "removals return a copy of what they are given"
    return MadeReference(
        model=ready(model),
        kind=kind,
        provenance=_provenance(source, kind, data, number, recipe),
    )


def untrained_reference(
    source: Source, data: ImageSet, number: int, recipe: ReferenceRecipe
) -> MadeReference:
    """Return the innocent with a number before its training, for weights that come from elsewhere.

    Arguments as in `make_reference`.
    """
    kind = kind_of(source, number)
    model = _untrained(source, kind, data, recipe.seed * 1000 + number, "reference")
    device = next(source.model.parameters()).device
    return MadeReference(
        model=model.to(device),
        kind=kind,
        provenance=_provenance(source, kind, data, number, recipe),
    )


def _provenance(
    source: Source, kind: ReferenceKind, data: ImageSet, number: int, recipe: ReferenceRecipe
) -> str:
    """Say what was really done."""
    num_images = max(2, round(kind.share * len(data)))
    epochs = f"{_training(kind, recipe, data).epochs:g} epochs"
    on = f"on {num_images} of the owner's images"
    if kind.has_ancestor:
        assert source.ancestor is not None
        what = "fine-tuned"
        if kind.is_head_only:
            what = "the head alone trained"
            times = head_epochs(source.model, source, _training(kind, recipe, data))
            epochs = f"{times:g} epochs"
        done = f"{what} {on} from {source.ancestor.name}, {epochs}"
    elif kind.is_distilled:
        done = f"trained from scratch {on} to answer as another one trained so, {epochs} each"
    elif kind.is_tuned:
        first, second = (num_images + 1) // 2, num_images // 2
        done = (
            f"trained from scratch on {first} of the owner's images, {epochs}, and fine-tuned on "
            f"{second} others, {max(1.0, recipe.epochs / 4):g} epochs"
        )
    else:
        done = f"trained from scratch {on}, {epochs}"
        if kind.radius:
            done += f", adversarially at {255 * kind.radius:g}/255"
        if kind.pruning:
            done += f", {kind.pruning:.0%} of its weights set to zero"
    return f"{kind.stratum}: {done}, seed {recipe.seed}/{number}"


def _training(kind: ReferenceKind, recipe: ReferenceRecipe, images: ImageSet) -> TrainingRecipe:
    return TrainingRecipe(
        epochs=max(1.0, recipe.epochs * kind.epochs),
        learning_rate=recipe.learning_rate * kind.rate,
        # Small sets still need some hundred steps.
        batch_size=min(128, max(16, len(images) // 20)),
        adversary=FreeAdversary(radius=kind.radius) if kind.radius else None,
    )


def _untrained(
    source: Source, kind: ReferenceKind, images: ImageSet, seed: int, role: str
) -> Normalised:
    if role == "teacher":
        seed += 500  # another model than its student
    if kind.has_ancestor:
        return source.descendant(seed)
    return untrained(source, kind.architecture, images, seed)
