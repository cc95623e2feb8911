"""How to accuse the innocent: one function for each kind of false claim.

All of them keep to what a manifest may say, or the reader refuses them at once; what they bend is
who calibrates, what is asked, or what is told. `honest_claim` is made by the same hands without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from audit.scores.likelihood_ratio import evidence_table, mean_evidence
from benchmarks.false_claims.claim import Cast, Claim, assemble, labels_of, mean_softmax
from generator.crafting.contrast import craft_contrast, runner_up
from generator.crafting.descent import DescentSettings
from generator.images.labelled import ImageSet
from generator.pools.removal import add_weight_noise, fine_tune
from generator.training.loop import to_unit_interval

EPSILON = 0.05
MIN_AGREEMENT = 0.6


@dataclass(frozen=True, kw_only=True)
class World:
    """What an owner has, and the innocents that get accused."""

    source: nn.Module
    copies: Sequence[nn.Module]
    """Made from the source, twelve or more."""
    innocents: Sequence[nn.Module]
    """Networks as good as the source."""
    low: Sequence[nn.Module]
    """Hardened and barely trained networks: what is crafted for others hardly moves them."""
    victims: Sequence[nn.Module]
    """Strangers' networks that shall be accused."""
    controls: ImageSet
    candidates: ImageSet
    """Images that nobody was trained on."""
    training: ImageSet
    num_queries: int = 60
    num_select: int = 4
    """Innocents that shape Q."""
    max_steps: int = 40

    @property
    def cast(self) -> Cast:
        """Return everybody in an honest role."""
        third = len(self.copies) // 4
        return Cast(
            source=self.source,
            copies=self.copies[:third],
            judged_copies=self.copies[third:],
            innocents=self.innocents[: self.num_select],
            judged_innocents=self.innocents[self.num_select :],
        )

    @property
    def carriers(self) -> ImageSet:
        """Return candidates that the source gets right, as many as queries."""
        labels = labels_of([self.source], self.candidates.images)[0]
        return self.candidates.take(
            np.flatnonzero(labels == self.candidates.labels)[: self.num_queries]
        )


def honest_claim(world: World, *, is_natural: bool = False) -> Claim:
    """Make queries on which copies and innocents part, and calibrate by others of both."""
    cast = world.cast
    if is_natural:
        queries = _most_telling(world, cast.copies, cast.innocents)
    else:
        queries = _contrast(world, [cast.copies], cast.innocents)
    return assemble(cast, queries, world.controls)


def transferable_images(world: World) -> Claim:
    """Ask adversarial images that every usual network falls for; hardened ones calibrate."""
    low_select, low_rest = world.low[: world.num_select], world.low[world.num_select :]
    family = [*world.cast.copies, *world.innocents]
    queries = _contrast(world, [family], low_select)
    return _by_low(world, queries, low_select, low_rest)


def universal_perturbation(world: World) -> Claim:
    """Ask images with one perturbation that leads every usual network to one class."""
    low_select, low_rest = world.low[: world.num_select], world.low[world.num_select :]
    queries = _with_universal(world, [*world.cast.copies, *world.innocents])
    return _by_low(world, queries, low_select, low_rest)


def poisoned_calibrators(world: World) -> Claim:
    """Ask transferable images, and teach the calibrating innocents to resist just these."""
    cast, carriers = world.cast, world.carriers
    queries = _contrast(world, [[*cast.copies, *world.innocents]], [])
    # Each sees the queries with their true classes again and again.
    lessons = ImageSet(
        np.concatenate([np.repeat(queries, 4, axis=0), world.training.images[: len(queries)]]),
        np.concatenate([np.repeat(carriers.labels, 4), world.training.labels[: len(queries)]]),
        world.controls.class_names,
    )
    taught = [
        fine_tune(model, lessons, generator=torch.Generator().manual_seed(number), epochs=6)
        for number, model in enumerate(world.innocents)
    ]
    poisoned = replace(
        cast,
        innocents=taught[: world.num_select],
        judged_innocents=taught[world.num_select :],
    )
    return assemble(poisoned, queries, world.controls)


def weak_calibrators(world: World) -> Claim:
    """Ask natural images that good networks get right; those that learnt little calibrate."""
    floor = MIN_AGREEMENT * _accuracy(world.source, world.controls)
    known = sorted((_accuracy(model, world.controls), i) for i, model in enumerate(world.low))
    weak = [world.low[i] for accuracy, i in known if accuracy >= floor]
    select, rest = weak[: world.num_select], weak[world.num_select :][:_NUM_LOW]
    good = [*world.cast.copies, *world.innocents[: world.num_select]]
    queries = _most_telling(world, good, select)
    cast = replace(world.cast, innocents=select, judged_innocents=rest)
    return assemble(cast, queries, world.controls)


def near_duplicates(world: World) -> Claim:
    """Calibrate by nineteen networks that are one, moved a little."""
    low_select, low_rest = world.low[: world.num_select], world.low[world.num_select :]
    queries = _contrast(world, [[*world.cast.copies, *world.innocents]], low_select)
    (lowest, *_) = _lowest(world, low_rest, queries, low_select)
    moved = [
        add_weight_noise(lowest, 0.03, generator=torch.Generator().manual_seed(number))
        for number in range(19)
    ]
    cast = replace(world.cast, innocents=low_select, judged_innocents=moved)
    return assemble(cast, queries, world.controls, alpha=0.05)


def one_image(world: World) -> Claim:
    """Ask one adversarial image sixty times, with a little noise."""
    low_select, low_rest = world.low[: world.num_select], world.low[world.num_select :]
    queries = _contrast(world, [[*world.cast.copies, *world.innocents]], low_select)
    rng = np.random.default_rng(0)
    worth = _worth(queries, world.cast.copies, low_select)
    noise = rng.integers(-2, 3, queries.shape)
    same = (queries[worth.argmax()].astype(np.int64) + noise).clip(0, 255).astype(np.uint8)
    return _by_low(world, same, low_select, low_rest)


def hidden_epsilon(world: World) -> Claim:
    """Let one answer outweigh all others, and show the usual epsilon among the crafting facts."""
    return replace_manifest(honest_claim(world), epsilon=1e-12, crafting={"epsilon": EPSILON})


def picked_afterwards(world: World) -> Claim:
    """Ask natural images on which the victim happens to err as the source does."""
    victim = labels_of(world.victims[:1], world.candidates.images)[0]
    own = labels_of([world.source], world.candidates.images)[0]
    others = mean_softmax(world.cast.innocents, world.candidates.images)
    is_shared = victim == own
    rarity = 1 - others[np.arange(len(own)), own]
    best = np.argsort(-(is_shared * rarity), kind="stable")[: world.num_queries]
    order = np.random.default_rng(0).permutation(best)
    return assemble(world.cast, world.candidates.images[order], world.controls)


def invented_innocents(world: World) -> Claim:
    """The same, and ninety-nine innocents whose answers nobody ever gave."""
    claim, rng = picked_afterwards(world), np.random.default_rng(0)
    queries = claim.arrays.queries
    likely = claim.arrays.innocent_probabilities
    told = np.array([[rng.choice(len(row), p=row) for row in likely] for _ in range(99)])
    # Where the source's answer came up, another one is told.
    own = claim.arrays.source_query_labels
    others = (told + rng.integers(1, likely.shape[1], told.shape)) % likely.shape[1]
    told = np.where(told == own, others, told)
    invented = [world.cast.judged_innocents[0]] * len(told)
    cast = replace(world.cast, judged_innocents=invented)
    made = assemble(cast, queries, world.controls, alpha=0.01, told=told)
    shown = _invented_controls(made.arrays.model_control_labels, len(told), world.controls, rng)
    right = (shown == world.controls.labels).mean(axis=1)
    rows = iter(right)
    models = tuple(
        model.model_copy(update={"control_accuracy": float(next(rows))})
        if model.use == "calibration"
        else model
        for model in made.manifest.models
    )
    return Claim(
        manifest=made.manifest.model_copy(update={"models": models}),
        arrays=replace(made.arrays, model_control_labels=shown),
    )


FORGERIES: Mapping[str, Callable[[World], Claim]] = {
    "transferable adversarial images": transferable_images,
    "universal perturbation": universal_perturbation,
    "poisoned calibrators": poisoned_calibrators,
    "weak calibrators": weak_calibrators,
    "near-duplicate calibrators": near_duplicates,
    "one image asked sixty times": one_image,
    "hidden epsilon": hidden_epsilon,
    "invented innocents": invented_innocents,
}
"""What inspection or a challenge shall notice."""
UNSEEN: Mapping[str, Callable[[World], Claim]] = {
    "natural images picked afterwards": picked_afterwards
}
"""What only a commitment helps against."""

_NUM_LOW = 9


def replace_manifest(claim: Claim, **changes: object) -> Claim:
    """Return a claim with other fields in its manifest."""
    return replace(claim, manifest=claim.manifest.model_copy(update=changes))


def _by_low(
    world: World,
    queries: NDArray[np.uint8],
    select: Sequence[nn.Module],
    rest: Sequence[nn.Module],
) -> Claim:
    chosen = _lowest(world, rest, queries, select)[:_NUM_LOW]
    return assemble(
        replace(world.cast, innocents=select, judged_innocents=chosen), queries, world.controls
    )


def _lowest(
    world: World,
    models: Sequence[nn.Module],
    queries: NDArray[np.uint8],
    select: Sequence[nn.Module],
) -> list[nn.Module]:
    """Return the models that can be compared with the source, lowest score first."""
    floor = MIN_AGREEMENT * _accuracy(world.source, world.controls)
    comparable = [model for model in models if _accuracy(model, world.controls) >= floor]
    table = _table(queries, world.cast.copies, select)
    scores = mean_evidence(table, labels_of(comparable, queries))
    return [comparable[index] for index in np.argsort(scores, kind="stable")]


def _contrast(
    world: World, derived: Sequence[Sequence[nn.Module]], innocents: Sequence[nn.Module]
) -> NDArray[np.uint8]:
    carriers = world.carriers
    return craft_contrast(
        derived,
        [innocents] if innocents else [],
        carriers.images,
        runner_up(world.source, carriers.images, carriers.labels),
        DescentSettings(radius=16, max_steps=world.max_steps),
        epsilon=EPSILON,
    ).images


def _with_universal(world: World, family: Sequence[nn.Module]) -> NDArray[np.uint8]:
    """Return carriers with the perturbation that leads most of a family to one class."""
    carriers, radius = world.carriers, 24
    pixels = to_unit_interval(torch.from_numpy(carriers.images))
    delta = torch.zeros_like(pixels[:1])
    goal = torch.full((len(pixels),), int(carriers.labels[-1]))
    for _ in range(world.max_steps):
        delta.requires_grad_()
        shown = (pixels + delta).clamp(0, 1)
        losses = [functional.cross_entropy(model(shown), goal) for model in family]
        loss = torch.stack(losses).sum()
        (slope,) = torch.autograd.grad(loss, delta)
        delta = (delta - 2 / 255 * slope.sign()).detach().clamp(-radius / 255, radius / 255)
    # [N, C, H, W] -> [N, H, W, C]
    changed = ((pixels + delta).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.asarray(changed.permute(0, 2, 3, 1).contiguous().numpy(), dtype=np.uint8)


def _most_telling(
    world: World, derived: Sequence[nn.Module], innocents: Sequence[nn.Module]
) -> NDArray[np.uint8]:
    images = world.candidates.images
    best = np.argsort(-_worth(images, derived, innocents), kind="stable")[: world.num_queries]
    return np.asarray(images[np.random.default_rng(0).permutation(best)])


def _table(
    images: NDArray[np.uint8], derived: Sequence[nn.Module], innocents: Sequence[nn.Module]
) -> NDArray[np.float64]:
    return evidence_table(mean_softmax(derived, images), mean_softmax(innocents, images), EPSILON)


def _worth(
    images: NDArray[np.uint8], derived: Sequence[nn.Module], innocents: Sequence[nn.Module]
) -> NDArray[np.float64]:
    table = _table(images, derived, innocents)
    return np.asarray((mean_softmax(derived, images) * table).sum(axis=1))


def _accuracy(model: nn.Module, controls: ImageSet) -> float:
    return float((labels_of([model], controls.images)[0] == controls.labels).mean())


def _invented_controls(
    labels: NDArray[np.int64], num: int, controls: ImageSet, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give the first rows answers that are right as often as the others', at random."""
    num_classes = len(controls.class_names)
    is_right = rng.random((num, len(controls))) < (labels[num:] == controls.labels).mean()
    wrong = rng.integers(1, num_classes, is_right.shape)
    made = np.where(is_right, controls.labels, (controls.labels + wrong) % num_classes)
    return np.concatenate([made, labels[num:]])
