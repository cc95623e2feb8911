"""The one training loop: plain, fine-tuning and adversarial.

Every model here takes pixels in [0, 1], ``[N, C, H, W]``; normalisation is part of the model
(`generator.sources.source.Normalised`). Nothing uses a global seed.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from generator.images.labelled import ImageSet

MAX_TRAINING_BYTES = 16 * 3 * 224 * 224 * 4
"""Pixels (float32) of one forward and backward pass: 16 ImageNet images, 784 of CIFAR."""


@dataclass(frozen=True, kw_only=True)
class FreeAdversary:
    """Free adversarial training (Shafahi et al., NeurIPS 2019): one backward pass feeds both.

    Each batch is replayed; the gradient that updates the weights also updates a perturbation,
    which is carried from one batch to the next.
    """

    radius: float
    """L-infinity radius, in [0, 1] pixel units."""
    replays: int = 4
    """Passes over each batch."""


@dataclass(frozen=True, kw_only=True)
class PGDAdversary:
    """Projected-gradient adversarial training (Madry et al., ICLR 2018)."""

    radius: float
    """L-infinity radius, in [0, 1] pixel units."""
    steps: int = 7
    """Ascent steps from a random start; each is 2.5 radius / steps long."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a model is trained."""

    epochs: float
    """Passes over the images; with free adversarial training, passes counting replays."""
    batch_size: int = 128
    learning_rate: float = 0.1
    """Peak learning rate of SGD."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    one_cycle: bool = True
    """Warm up linearly over the first 30 % and anneal to zero; otherwise a constant rate."""
    augment: bool = True
    """Random horizontal flip and shift by up to an eighth (4 of 32 pixels), anew in each batch."""
    adversary: FreeAdversary | PGDAdversary | None = None
    """Half of each batch is perturbed, the other half stays clean."""


def train(
    model: nn.Module,
    data: ImageSet,
    recipe: TrainingRecipe,
    *,
    generator: torch.Generator,
    parameters: list[nn.Parameter] | None = None,
    targets: NDArray[np.float32] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> None:
    """Train ``model`` in place; leaves it in evaluation mode.

    Args:
        model: Takes ``[N, C, H, W]`` in [0, 1], returns logits ``[N, K]``.
        data: Labelled images.
        recipe: Optimiser, schedule, augmentation, adversary.
        generator: Source of every random draw (CPU generator).
        parameters: What to update; everything by default. Batch-norm statistics stay frozen when
            this is given, so that a retrained head does not move the trunk.
        targets: Soft targets ``[N, K]`` instead of labels (distillation).
        on_step: Called with (steps done, steps in all) after each weight update.
    """
    for step, total in training_steps(
        model, data, recipe, generator=generator, parameters=parameters, targets=targets
    ):
        if on_step is not None:
            on_step(step, total)


def training_steps(
    model: nn.Module,
    data: ImageSet,
    recipe: TrainingRecipe,
    *,
    generator: torch.Generator,
    parameters: list[nn.Parameter] | None = None,
    targets: NDArray[np.float32] | None = None,
) -> Iterator[tuple[int, int]]:
    """Do the same as `train`, yielding (steps done, steps in all) after each weight update."""
    device = next(model.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(data.images)).to(device)
    goals = torch.from_numpy(data.labels if targets is None else targets).to(device)
    updated = list(model.parameters()) if parameters is None else parameters
    optimiser = torch.optim.SGD(
        updated,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    batch_size = min(recipe.batch_size, len(data))
    total = max(1, round(recipe.epochs * len(data) / batch_size))
    adversary = recipe.adversary
    replays = adversary.replays if isinstance(adversary, FreeAdversary) else 1
    carried = torch.zeros(0, device=device)
    batches = _batches(len(data), batch_size, generator)
    step = 0
    while step < total:
        indices = next(batches).to(device)
        chosen_images = images[indices]
        if recipe.augment:
            chosen_images = _augment(chosen_images, generator)
        clean = to_unit_interval(chosen_images)
        goal = goals[indices]
        num_perturbed = len(clean) // 2 if adversary is not None else 0
        for _ in range(min(replays, total - step)):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step / total, recipe.one_cycle)
            perturbation = torch.zeros_like(clean[:num_perturbed])
            if isinstance(adversary, FreeAdversary):
                # Empty before the first batch; all batches have one size.
                if carried.shape == perturbation.shape:
                    perturbation = carried
            elif isinstance(adversary, PGDAdversary):
                perturbation = _pgd(model, clean[:num_perturbed], goal, adversary, generator)
            # Batch-norm statistics must see the weight step's batch: perturbing leaves eval mode.
            model.train(parameters is None)
            optimiser.zero_grad(set_to_none=True)
            perturbed = (clean[:num_perturbed] + perturbation).clamp(0, 1)
            batch = torch.cat([perturbed, clean[num_perturbed:]])
            batch.requires_grad_(isinstance(adversary, FreeAdversary))
            _accumulate_gradients(model, batch, goal)
            optimiser.step()
            if isinstance(adversary, FreeAdversary) and batch.grad is not None:
                # Up the loss by the gradient that has just moved the weights down: the one backward
                # pass.
                moved = perturbation + adversary.radius * batch.grad[:num_perturbed].sign()
                carried = moved.clamp(-adversary.radius, adversary.radius)
            step += 1
            yield step, total
    model.eval()


def to_unit_interval(images: Tensor) -> Tensor:
    """Turn uint8 ``[N, H, W, C]`` into float32 ``[N, C, H, W]`` in [0, 1], channels last."""
    # [N, H, W, C] -> [N, C, H, W]; the permuted view already has channels-last strides.
    return images.permute(0, 3, 1, 2).float().div_(255)


def _accumulate_gradients(model: nn.Module, batch: Tensor, goal: Tensor) -> None:
    """Add the gradients of the batch's mean loss to the weights, and to the batch if it wants any.

    In parts that fit into memory; each holds every n-th image, so that batch norm sees clean and
    perturbed ones in each.
    """
    for chosen in _parts(batch):
        loss = functional.cross_entropy(model(batch[chosen]), goal[chosen], reduction="sum")
        (loss / len(batch)).backward()  # type: ignore[no-untyped-call]


def _input_gradients(model: nn.Module, batch: Tensor, goal: Tensor) -> Tensor:
    """Return the loss's gradient for each image, in parts that fit into memory."""
    gradients = torch.empty_like(batch)
    for chosen in _parts(batch):
        pixels = batch[chosen].detach().requires_grad_()
        loss = functional.cross_entropy(model(pixels), goal[chosen], reduction="sum")
        # Of the images alone, which spares those of the weights.
        (gradients[chosen],) = torch.autograd.grad(loss, pixels)
    return gradients


def _parts(batch: Tensor) -> Iterator[slice]:
    num = math.ceil(4 * batch.numel() / MAX_TRAINING_BYTES)
    return (slice(part, None, num) for part in range(num))


def _batches(num: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield index batches, one random order after another; a short tail joins the next order."""
    waiting = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(num, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _schedule(progress: float, one_cycle: bool) -> float:
    if not one_cycle:
        return 1.0
    return progress / 0.3 if progress < 0.3 else (1.0 - progress) / 0.7


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each uint8 ``[N, H, W, C]`` image with probability 1/2, shift it by some pixels."""
    num, height, width, _ = images.shape
    max_shift = min(height, width) // 8
    flip = torch.rand(num, generator=generator) < 0.5
    rows = torch.randint(0, 2 * max_shift + 1, (num, 1), generator=generator)
    columns = torch.randint(0, 2 * max_shift + 1, (num, 1), generator=generator)
    row_index = (rows + torch.arange(height)).to(images.device)  # [N, H]
    column_index = columns + torch.arange(width)  # [N, W]
    column_index = torch.where(flip[:, None], column_index.flip(1), column_index).to(images.device)
    padded = functional.pad(images, (0, 0, max_shift, max_shift, max_shift, max_shift))
    which = torch.arange(num, device=images.device)[:, None, None]
    return padded[which, row_index[:, :, None], column_index[:, None, :]]  # [N, H, W, C]


def _pgd(
    model: nn.Module,
    clean: Tensor,
    goal: Tensor,
    adversary: PGDAdversary,
    generator: torch.Generator,
) -> Tensor:
    """Return an untargeted L-infinity perturbation found in evaluation mode."""
    model.eval()
    radius = adversary.radius
    # Drawn on the CPU, so that every device begins with the same perturbation.
    start = torch.rand(clean.shape, generator=generator).to(clean.device)
    perturbation = (start * 2 - 1) * radius
    for _ in range(adversary.steps):
        pixels = (clean + perturbation).clamp(0, 1)
        gradients = _input_gradients(model, pixels, goal[: len(clean)])
        moved = perturbation + 2.5 * radius / adversary.steps * gradients.sign()
        perturbation = moved.clamp(-radius, radius)
    return perturbation
