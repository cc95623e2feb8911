"""What all kinds of Characteristic Examples share: noise that is driven into a chosen class.

Wang et al., "Characteristic Examples: High-Robustness, Low-Transferability Fingerprinting of Neural
Networks", IJCAI 2021. No data are needed: each carrier is uniform noise ``x_0`` and gets a class t
by lot, classes balanced. Projected sign-gradient descent minimises

    CE(f(x_0 + d), t)    with    ||d||_inf <= radius

The kinds differ in whose gradient is taken (`Gradients`) and in the set that d is projected to
(`Projection`). A suspect that answers t matches.

The paper's constants could not be looked up; those here were chosen on a ResNet-20 for CIFAR-10.
Noise is drawn ``radius`` away from black and white, so that the ball never leaves the pixel range
and nothing but the projection shapes d. Every loss and gradient is that of the image rounded to
8 bits.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adapters.strict_model import FrozenModel
from generator.crafting.fingerprint import Fingerprint, Step
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import MAX_TRAINING_BYTES

Gradients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From pixels ``[N, C, H, W]`` in [0, 1] and goal classes ``[N]`` to the loss of each image in nats
``[N]`` and its gradient ``[N, C, H, W]``."""

Projection = Callable[[Tensor], Tensor]
"""From perturbations ``[N, C, H, W]`` in 8-bit levels to those within the ball, same shape."""

_MAX_DRAWS = 3
"""Times that noise is drawn anew for a class that was not reached."""


class CharacteristicOptions(FrozenModel):
    """How far from the noise, and how far into the class."""

    radius: Annotated[float, Field(ge=1, le=100)] = 32
    """L-infinity radius around the noise in 8-bit levels."""
    step: Annotated[float, Field(gt=0, le=100)] = 2
    """Length of a sign step in 8-bit levels."""
    max_steps: Annotated[int, Field(ge=1, le=10_000)] = 200
    goal_loss: Annotated[float, Field(gt=0, le=10)] = 1e-4
    """An image whose loss in nats is below this stops."""


def craft_from_noise(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    gradients: Gradients,
    project: Projection,
    options: CharacteristicOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step | None,
) -> Fingerprint:
    """Draw noise and drive it into the classes.

    Args:
        source: Pixels in [0, 1] to logits.
        carriers: Any images of the source's size ``[M, H, W, C]``; only their shape is used.
        gradients: Loss and gradient.
        project: What perturbations are allowed.
        options: Radius, steps, stopping.
        num_images: N.
        rng: Draws noise and classes.
        on_step: Called with (images finished, images in all).

    Returns:
        The images that the source puts into their class after rounding, N or fewer, with the noise
        they began as.

    Raises:
        GenerationError: There are none.
    """
    if not len(carriers):
        raise GenerationError("carriers: expected an image that shows the size, got none")
    num_classes = predict_logits(source, carriers[:1]).shape[1]
    device = next(source.parameters()).device
    # Classes by lot, each as often as the others as far as possible.
    missing = rng.permutation(np.arange(num_images) % num_classes)
    images, noises, labels, num_steps, num_drawn = [], [], [], 0, 0
    for _ in range(_MAX_DRAWS):
        shape = (len(missing), *carriers.shape[1:])
        low = int(np.ceil(options.radius))
        noise = rng.integers(low, 256 - low, shape, dtype=np.uint8)
        num_before = num_images - len(missing)

        def report(finished: int, before: int = num_before) -> None:
            if on_step is not None:
                on_step(before + finished, num_images)

        made, steps = _descend(noise, missing, gradients, project, options, device, report)
        # By the source's answer to the stored bytes, not by the loss along the way.
        reached = predict_logits(source, made).argmax(axis=1) == missing
        images.append(made[reached])
        noises.append(noise[reached])
        labels.append(missing[reached])
        num_steps += steps
        num_drawn += len(missing)
        missing = missing[~reached]
        if not len(missing):
            break
    if len(missing) == num_images:
        raise GenerationError(
            f"characteristic examples: the source puts none of {num_drawn} noise images into its "
            f"class within {options.max_steps} steps and a radius of {options.radius:g} levels; "
            "raise radius or max_steps, and check that the source is trained"
        )
    kept = np.concatenate(images)
    return Fingerprint(
        images=kept,
        labels=np.concatenate(labels),
        carriers=np.concatenate(noises),
        groups=np.arange(len(kept)),
        findings={
            "images": len(kept),
            "images_drawn": num_drawn,
            "mean_steps": round(num_steps / num_drawn, 2),
        },
    )


def loss_and_gradient(model: nn.Module, pixels: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
    """Return one model's cross-entropies ``[N]`` and their gradients ``[N, C, H, W]``.

    Large images go through in parts, so that memory stays bounded.
    """
    size = max(1, MAX_TRAINING_BYTES // (4 * pixels[:1].numel()))
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for part, goal in zip(torch.split(pixels, size), torch.split(goals, size), strict=True):
        leaf = part.detach().requires_grad_()
        loss = functional.cross_entropy(model(leaf), goal, reduction="none")
        gradients += torch.autograd.grad(loss.sum(), leaf)
        losses.append(loss.detach())
    return torch.cat(losses), torch.cat(gradients)


def into_cube(radius: float) -> Projection:
    """Return the projection to ``||d||_inf <= radius``."""
    return lambda perturbation: perturbation.clamp(-radius, radius)


def _descend(
    noise: NDArray[np.uint8],
    goals: NDArray[np.int64],
    gradients: Gradients,
    project: Projection,
    options: CharacteristicOptions,
    device: torch.device,
    report: Callable[[int], None],
) -> tuple[NDArray[np.uint8], int]:
    """Return the images ``[N, H, W, C]`` and the steps that all of them took together."""
    # [N, H, W, C] -> [N, C, H, W] in levels
    start = torch.from_numpy(noise).to(device).permute(0, 3, 1, 2).float()
    goal = torch.from_numpy(goals).to(device)
    perturbation = torch.zeros_like(start)
    active = torch.arange(len(noise), device=device)
    num_steps = 0
    for _ in range(options.max_steps):
        rounded = (start[active] + perturbation[active]).round()
        losses, gradient = gradients(rounded / 255, goal[active])
        going = losses >= options.goal_loss
        active, gradient = active[going], gradient[going]
        report(len(noise) - len(active))
        if not len(active):
            break
        perturbation[active] = project(perturbation[active] - options.step * gradient.sign())
        num_steps += len(active)
    report(len(noise))
    made = (start + perturbation).round().clamp(0, 255)
    # [N, C, H, W] -> [N, H, W, C]
    return made.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy(), num_steps
