"""IPGuard: points near the source's decision boundary, which a copy labels as the source does.

Cao, Jia, Gong, "IPGuard: Protecting Intellectual Property of Deep Neural Networks via
Fingerprinting the Classification Boundary", AsiaCCS 2021 (arXiv 1910.12903). From a clean image of
class i, with z the source's logits and j a target class, it minimises over x in [0, 1]

    ReLU(z_i - z_j + k) + ReLU(max_{t != i, j} z_t - z_i)

by Adam and stops when that is 0: x then lies in class j by a margin of at least k over i, which is
the runner-up. Target j is the least likely class of the clean image or a random one. The label is
the source's; the score is the matching rate. Needs the source's gradients and clean images, no
other models.

Defaults: learning rate 0.001 and 1000 steps are the paper's. Its k is in logits (the comparison in
the MFUE paper takes 10 for CIFAR), which means something else for every network; by default k is
counted in medians of the source's own margin on clean images that it gets right, and a k in logits
is one option away.

Where this differs from public code: x never leaves [0, 1]; the loss is that of the image rounded to
8 bits, whose gradient moves the unrounded one (straight-through), so that what stops is what is
stored; the target is never class i; k takes effect (an image does not stop at the bare change of
class); with two classes the second term is absent.

Shapes: images ``[N, H, W, C]`` uint8, labels ``[N]``, N at most ``num_images``.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from adapters.strict_model import FrozenModel
from generator.crafting.clean_images import right_images
from generator.crafting.ensemble import frozen, micro_batches
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

_BETAS, _TINY = (0.9, 0.999), 1e-8
"""Adam's own constants (Kingma and Ba, 2015)."""


class IpguardOptions(FrozenModel):
    """Settings of IPGuard."""

    target: Literal["least-likely", "random"] = "least-likely"
    """Target class j: the clean image's least likely one, or any other than its own."""
    k: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Margin of the target class over the first one, in units of ``k_unit``."""
    k_unit: Literal["margins", "logits"] = "margins"
    """``margins``: the source's median margin on clean images; ``logits``: as in the paper."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    """Of Adam, for pixels in [0, 1] (paper)."""
    max_steps: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Steps per image at most (paper)."""
    max_carriers: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """Try at most so many clean images."""


@dataclass(frozen=True, kw_only=True)
class _Descent:
    """What became of a batch."""

    images: NDArray[np.uint8]
    """``[B, H, W, C]``"""
    is_done: NDArray[np.bool_]
    """Which images reached a loss of 0, ``[B]``."""
    steps: NDArray[np.int64]
    """``[B]``"""


def boundary_loss(logits: Tensor, first: Tensor, target: Tensor, k: float) -> Tensor:
    """Return IPGuard's objective, ``[N]``.

    Args:
        logits: z ``[N, K]``.
        first: Class i of the clean image, ``[N]``.
        target: Class j, ``[N]``.
        k: In logits.
    """
    own = logits.gather(1, first[:, None])[:, 0]
    goal = logits.gather(1, target[:, None])[:, 0]
    mask = torch.zeros_like(logits, dtype=torch.bool)
    mask.scatter_(1, torch.stack([first, target], dim=1), value=True)
    # With two classes nothing is left: the maximum is -inf and its term 0.
    others = logits.masked_fill(mask, -torch.inf).amax(1)
    return (own - goal + k).relu() + (others - own).relu()


def median_margin(logits: NDArray[np.float64]) -> float:
    """Return the median of ``z_(1) - z_(2)``, the largest logit's lead, over ``[N, K]``."""
    two = np.partition(logits, -2, axis=1)[:, -2:]
    return float(np.median(two[:, 1] - two[:, 0]))


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: IpguardOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Craft points near the boundary (see `FingerprintMethod.craft`).

    Findings: ``k_logits``, ``median_margin`` (logits), ``carriers_tried``, ``feasible``,
    ``median_steps``, ``median_change`` (mean absolute change of a pixel, in 8-bit levels).

    Raises:
        GenerationError: The source is near chance, or no image gets there in time; says how many
            were tried.
    """
    right, _ = right_images(source, carriers, labels, rng)
    right = right[: options.max_carriers]
    clean = predict_logits(source, carriers[right])
    margin = median_margin(clean)
    k = options.k * (margin if options.k_unit == "margins" else 1.0)
    targets = _targets(clean, options.target, rng)
    network = frozen([source])[0]
    device = next(network.parameters()).device
    images: list[NDArray[np.uint8]] = []
    places: list[NDArray[np.int64]] = []
    steps: list[NDArray[np.int64]] = []
    num_found = num_tried = 0
    for part in micro_batches(carriers[right], device):
        if num_found >= num_images:
            break
        chosen = right[part]
        found = _descend(
            network,
            to_unit_interval(torch.from_numpy(carriers[chosen]).to(device)),
            torch.from_numpy(clean[part].argmax(axis=1)).to(device),
            torch.from_numpy(targets[part]).to(device),
            k,
            options,
        )
        images.append(found.images[found.is_done])
        places.append(chosen[found.is_done])
        steps.append(found.steps[found.is_done])
        num_found, num_tried = num_found + int(found.is_done.sum()), num_tried + len(chosen)
        on_step(min(num_found, num_images), num_images)
    if not num_found:
        raise GenerationError(
            f"k: none of {num_tried} clean images reached class j by {k:.3g} logits over class i "
            f"within {options.max_steps} steps of {options.learning_rate:g} while class i stayed "
            "second; give a smaller --option k, or more max_steps"
        )
    kept, from_clean = np.concatenate(images)[:num_images], np.concatenate(places)[:num_images]
    changes = np.abs(kept.astype(np.int16) - carriers[from_clean]).mean(axis=(1, 2, 3))
    return Fingerprint(
        images=kept,
        labels=predict_logits(source, kept).argmax(axis=1),
        carriers=carriers[from_clean],
        groups=np.arange(len(kept)),
        findings={
            "k_logits": round(k, 6),
            "median_margin": round(margin, 6),
            "carriers_tried": num_tried,
            "feasible": num_found,
            "median_steps": float(np.median(np.concatenate(steps)[:num_images])),
            "median_change": round(float(np.median(changes)), 3),
        },
    )


def _targets(clean: NDArray[np.float64], kind: str, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the target class of each clean image's logits ``[N, K]``, never its own, ``[N]``."""
    if kind == "least-likely":
        return np.asarray(clean.argmin(axis=1), dtype=np.int64)
    num_classes = clean.shape[1]
    # 1 to K - 1 added modulo K are the other classes, each as likely.
    shift = rng.integers(1, num_classes, len(clean))
    return np.asarray((clean.argmax(axis=1) + shift) % num_classes, dtype=np.int64)


def _descend(
    network: nn.Module,
    start: Tensor,
    first: Tensor,
    target: Tensor,
    k: float,
    options: IpguardOptions,
) -> _Descent:
    """Run Adam on a batch ``[B, C, H, W]``; images leave it as soon as their loss is 0."""
    pixels, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    steps = torch.zeros(len(start), dtype=torch.int64)
    active = torch.arange(len(start), device=start.device)
    # One look more than steps; an image is judged before it moves.
    for step in range(options.max_steps + 1):
        rounded = ((pixels[active] * 255).round() / 255).requires_grad_()
        losses = boundary_loss(network(rounded), first[active], target[active], k)
        going = losses.detach() > 0
        if not bool(going.any()) or step == options.max_steps:
            active = active[going]
            break
        (gradient,) = torch.autograd.grad(losses.sum(), rounded)
        active, gradient = active[going], gradient[going]
        # Adam by hand: torch's would move images on by their momentum that are done.
        mean[active] = _BETAS[0] * mean[active] + (1 - _BETAS[0]) * gradient
        square[active] = _BETAS[1] * square[active] + (1 - _BETAS[1]) * gradient**2
        direction = (mean[active] / (1 - _BETAS[0] ** (step + 1))) / (
            (square[active] / (1 - _BETAS[1] ** (step + 1))).sqrt() + _TINY
        )
        pixels[active] = (pixels[active] - options.learning_rate * direction).clamp(0, 1)
        steps[active.cpu()] += 1
    is_done = np.ones(len(start), dtype=np.bool_)
    is_done[active.cpu().numpy()] = False
    levels = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1)  # to [B, H, W, C]
    return _Descent(
        images=np.ascontiguousarray(levels.cpu().numpy()), is_done=is_done, steps=steps.numpy()
    )


METHOD = FingerprintMethod(
    name="ipguard",
    title="IPGuard (Cao, Jia, Gong; AsiaCCS 2021)",
    options=IpguardOptions,
    score="matching-rate",
    needs=frozenset(),
    craft=craft,
)
