"""MetaFinger: images that all derived models call alike and innocents call otherwise.

Yang, Wang, Wang, "MetaFinger: Fingerprinting the Deep Neural Networks with Meta-training", IJCAI
2022. Shadow positives are the source, models derived from it and cheap copies ("DNN augmentation":
pruning and weight noise); shadow negatives are innocents and cheap copies of them. An epoch takes
each positive once as the anchor a, transforms the images at random, and makes one step down

    mean_p KL(p(x) || a(x)) - repelling * mean_n min(KL(n(x) || a(x)), max_repelling)

with k positives p other than the anchor and k negatives n drawn anew. Images that *validation*
models, which never take part in the optimisation, agree on as asked are kept; others get another
epoch, and new images follow in rounds until there are enough.

Where this differs from the public code: the repelling term has a cap, since KL has none; the anchor
is never its own positive; KL is a sum over classes, not their mean; gradients are those of the
image rounded to 8 bits, and so is what is screened; the source itself must give the label that is
stored; and each image stops when it passes instead of all at the best common epoch. As in the
paper the images have no bound: they look unnatural.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from adapters.strict_model import FrozenModel
from generator.crafting.clean_images import right_images
from generator.crafting.ensemble import micro_batches
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.crafting.pool_check import require_pools
from generator.crafting.shadows import Shadows, split_pools
from generator.crafting.transforms import TRANSFORMS
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

_NUM_COMPARED = 200
"""Images on which models are compared with the source before they are split."""


class MetaFingerOptions(FrozenModel):
    """Settings; "public code" is kangyangWHU/MetaFinger for CIFAR-10."""

    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Images optimised together, a round (public code: 70)."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    """Passes over the shadow positives (public code)."""
    min_epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    """Passes before an image may be kept (public code: 5)."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Of Adam, in [0, 1] pixel units. Public code: 0.01, with several times as many positives and
    so many times the steps."""
    num_sampled: Annotated[int, Field(ge=1, le=100)] = 3
    """Positives and negatives per step, k (public code)."""
    repelling: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the negatives, lambda (public code)."""
    max_repelling: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """Cap on each negative's KL in nats (ours)."""
    source_copies: Annotated[int, Field(ge=0, le=1000)] = 6
    """Pruned and noisy copies of the source among the positives (ours)."""
    innocent_copies: Annotated[int, Field(ge=0, le=100)] = 1
    """Copies of each innocent among the negatives that optimise (ours; public code: up to 7)."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 1 / 3
    """Share of each pool that only screens (public code)."""
    min_derived_agreement: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the derived validation models that must give the label (public code)."""
    max_innocent_agreement: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the innocent validation models that may give the label (public code)."""
    max_rounds: Annotated[int, Field(ge=1, le=1000)] = 5
    """Rounds of new images at most (public code: 10)."""


def divergence(other: Tensor, anchor: Tensor) -> Tensor:
    """Return ``KL(other || anchor)`` in nats, ``[N]``.

    Args:
        other: Log-softmax ``[N, K]``.
        anchor: Log-softmax ``[N, K]``.
    """
    return (other.exp() * (other - anchor)).sum(1)


def triplet_loss(
    anchor: Tensor,
    positives: Sequence[Tensor],
    negatives: Sequence[Tensor],
    *,
    repelling: float,
    max_repelling: float,
) -> Tensor:
    """Return the loss of each image, ``[N]``; never below ``-repelling * max_repelling``.

    Args:
        anchor: Log-softmax ``[N, K]``.
        positives: Log-softmax of each, ``[N, K]``.
        negatives: Likewise.
        repelling: Weight of the negatives.
        max_repelling: Cap on each negative's divergence in nats.
    """
    attracted = torch.stack([divergence(one, anchor) for one in positives]).mean(0)
    repelled = torch.stack([divergence(one, anchor).clamp_max(max_repelling) for one in negatives])
    return attracted - repelling * repelled.mean(0)


def draw_positives(
    num: int, anchor: int, num_sampled: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw positives for an anchor among ``num``, which is none of them itself."""
    return rng.permutation(np.delete(np.arange(num), anchor))[:num_sampled]


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: MetaFingerOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Craft images in rounds (see `FingerprintMethod.craft`).

    Findings: ``rounds``, ``carriers_tried``, ``lost_by_derived`` and ``shared_by_innocents`` (why
    the others were not kept), and how many models optimised and screened.

    Raises:
        GenerationError: Too few models, a source near chance, or no image passes the screen.
    """
    require_pools(METHOD.name, pools, num_derived=2, num_innocents=2)
    right, _ = right_images(source, carriers, labels, rng)
    shadows = split_pools(
        source,
        pools,
        carriers[right[:_NUM_COMPARED]],
        validation_share=options.validation_share,
        source_copies=options.source_copies,
        innocent_copies=options.innocent_copies,
        rng=rng,
    )
    starts = range(0, len(right), options.batch_size)[: options.max_rounds]
    kept: list[_Kept] = []
    num_rounds = num_tried = 0
    for start in starts:
        chosen = right[start : start + options.batch_size]

        def report(done: int, total: int, before: int = num_rounds) -> None:
            on_step(before * total + done, len(starts) * total)

        kept.append(_round(source, carriers, chosen, shadows, options, rng, report))
        num_rounds += 1
        num_tried += len(chosen)
        if sum(len(one.positions) for one in kept) >= num_images:
            break
    num_steps = len(starts) * options.epochs * len(shadows.positives)
    on_step(num_steps, num_steps)
    positions = np.concatenate([one.positions for one in kept])[:num_images]
    images = np.concatenate([one.images for one in kept])[:num_images]
    lost = sum(one.num_lost for one in kept)
    shared = sum(one.num_shared for one in kept)
    if not len(positions):
        raise GenerationError(
            f"screen: expected images that derived validation models agree on and innocent ones do "
            f"not, got none of {num_tried}: {lost} lost a derived model, {shared} were shared by "
            "an innocent; give more epochs, more models, or a milder screen"
        )
    return Fingerprint(
        images=images,
        labels=predict_logits(source, images).argmax(axis=1),
        carriers=carriers[positions],
        groups=np.arange(len(images)),
        findings={
            "rounds": num_rounds,
            "carriers_tried": num_tried,
            "lost_by_derived": lost,
            "shared_by_innocents": shared,
            "derived_optimising": len(shadows.positives),
            "derived_screening": len(shadows.validation_positives),
            "innocents_optimising": len(shadows.negatives),
            "innocents_screening": len(shadows.validation_negatives),
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What a round brought."""

    positions: NDArray[np.int64]
    """Of the carriers of the images that were kept."""
    images: NDArray[np.uint8]
    num_lost: int
    """Images dropped because a derived validation model, or the source, answers otherwise."""
    num_shared: int
    """Images dropped because an innocent validation model gives the same label."""


def _round(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    chosen: NDArray[np.int64],
    shadows: Shadows,
    options: MetaFingerOptions,
    rng: np.random.Generator,
    on_step: Step,
) -> _Kept:
    """Optimise one batch of images, screening after each epoch."""
    device = next(source.parameters()).device
    pixels = to_unit_interval(torch.from_numpy(carriers[chosen]).to(device)).requires_grad_()
    optimiser = torch.optim.Adam([pixels], lr=options.learning_rate)
    images, is_kept = carriers[chosen].copy(), np.zeros(len(chosen), dtype=bool)
    total, done = options.epochs * len(shadows.positives), 0
    for epoch in range(1, options.epochs + 1):
        active = np.flatnonzero(~is_kept)
        for anchor in rng.permutation(len(shadows.positives)):
            # Momentum moves images on that were kept, without gradient; what counts of them is the
            # copy in `images`.
            pixels.grad = torch.zeros_like(pixels)
            moving = torch.from_numpy(active).to(device)
            pixels.grad[moving] = _gradient(pixels.detach()[moving], anchor, shadows, options, rng)
            optimiser.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
            done += 1
            on_step(done, total)
        if epoch < min(options.min_epochs, options.epochs):
            continue
        # Screened as it would be stored.
        candidates = _to_levels(pixels.detach()[moving])
        is_followed, is_shared = screen(source, candidates, shadows, options)
        images[active] = candidates
        is_kept[active] = is_followed & ~is_shared
        if is_kept.all():
            break
    return _Kept(
        positions=chosen[is_kept],
        images=images[is_kept],
        # By the last screen: whoever failed an earlier one got another epoch.
        num_lost=int((~is_followed).sum()),
        num_shared=int((is_followed & is_shared).sum()),
    )


def screen(
    source: nn.Module,
    images: NDArray[np.uint8],
    shadows: Shadows,
    options: MetaFingerOptions,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Ask the source and the validation models.

    Args:
        source: Pixels in [0, 1] to logits.
        images: ``[N, H, W, C]``.
        shadows: Validation models.
        options: Agreements to reach.

    Returns:
        Whether the label is what enough derived models answer, ``[N]``, and whether too many
        innocents answer it, ``[N]``.
    """
    labels = predict_logits(source, images).argmax(axis=1)
    derived = _agreement(shadows.validation_positives, images, labels)
    innocent = _agreement(shadows.validation_negatives, images, labels)
    return derived >= options.min_derived_agreement, innocent > options.max_innocent_agreement


def _agreement(
    models: Sequence[nn.Module], images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of the models that give each label, ``[N]``."""
    answers = np.stack([predict_logits(model, images).argmax(axis=1) for model in models])
    return np.asarray((answers == labels).mean(axis=0))  # [S, N] -> [N]


def _gradient(
    pixels: Tensor,
    anchor: int,
    shadows: Shadows,
    options: MetaFingerOptions,
    rng: np.random.Generator,
) -> Tensor:
    """Return the loss's gradient at ``[N, C, H, W]`` after a random transform."""
    positives = draw_positives(len(shadows.positives), anchor, options.num_sampled, rng)
    negatives = rng.permutation(len(shadows.negatives))[: options.num_sampled]
    names = list(TRANSFORMS)
    transform = TRANSFORMS[names[rng.integers(len(names))]]
    # The gradient at the rounded image is taken as that at the image.
    leaf = (pixels * 255).round().div(255).requires_grad_()
    seen = transform(leaf, rng)
    gradients = torch.empty_like(seen)
    for part in micro_batches(seen, pixels.device):
        batch = seen[part].detach().requires_grad_()
        loss = triplet_loss(
            shadows.positives[anchor](batch).log_softmax(1),
            [shadows.positives[one](batch).log_softmax(1) for one in positives],
            [shadows.negatives[one](batch).log_softmax(1) for one in negatives],
            repelling=options.repelling,
            max_repelling=options.max_repelling,
        )
        (gradients[part],) = torch.autograd.grad(loss.sum(), batch)
    # The chain rule in two parts: models over parts of the batch, the transform over all of it,
    # because it draws one change for all.
    (gradient,) = torch.autograd.grad(seen, leaf, gradients)
    return gradient


def _to_levels(pixels: Tensor) -> NDArray[np.uint8]:
    # [N, C, H, W] -> [N, H, W, C]
    return np.asarray((pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


METHOD = FingerprintMethod(
    name="metafinger",
    title="MetaFinger: fingerprinting with meta-training (Yang, Wang, Wang; IJCAI 2022)",
    options=MetaFingerOptions,
    score="matching-rate",
    needs=frozenset({"derived", "innocents"}),
    craft=craft,
)
