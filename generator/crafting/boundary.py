"""The nearest point at which a classifier turns to a given class.

`nearest` linearises: at each iterate it steps to the hyperplane where, to first order, the target
ties with its strongest rival,

    d <- d + (max_{k != t} z_k - z_t) w / ||w||^2,    w = grad (z_t - max_{k != t} z_k)

the targeted form of DeepFool (Moosavi-Dezfooli, Fawzi, Frossard, CVPR 2016), and then bisects the
ray from x through x + d. Exact in one step for a linear classifier, some ten gradients for a
network. `carlini_wagner` minimises ``||d||^2 + c max(margin deficit, 0)`` by Adam while searching
for c (Carlini, Wagner, IEEE S&P 2017), which takes hundreds to thousands of gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generator.crafting.ensemble import frozen, micro_batches

_OVERSHOOT = 1.02
"""The walk goes so much further than to the hyperplane, as DeepFool's; bisection takes it back."""
_TINY = 1e-12
_BISECTIONS = 16
"""Of the ray; the boundary is found to 1 / 65,536 of the offset."""
_WEIGHTS_OF_C, _FIRST_WEIGHT = 6, 1.0
"""How many values of c are tried, and the first."""


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """Points just beyond the boundary."""

    directions: Tensor
    """d with ``x + d`` on the boundary, just within the target class, ``[N, C, H, W]``."""
    is_found: Tensor
    """Whether the target class was reached within the box, ``[N]``."""


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """Return ``z_t - max_{k != t} z_k``, ``[N]``.

    Args:
        logits: ``[N, K]``.
        classes: t, ``[N]``.
    """
    chosen = classes[:, None]
    rivals = logits.scatter(1, chosen, -torch.inf).amax(1)  # [N, K] -> [N]
    return logits.gather(1, chosen)[:, 0] - rivals


def margins_and_gradients(
    model: nn.Module, pixels: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return margins ``[N]`` and their gradients ``[N, C, H, W]`` at pixels in [0, 1]."""
    values, gradients = [], []
    for part in micro_batches(pixels, pixels.device):
        batch = pixels[part].detach().requires_grad_()
        value = margins(model(batch), classes[part])
        # Frozen models look at each image by itself, so the sum's gradient holds every image's own.
        (gradient,) = torch.autograd.grad(value.sum(), batch)
        values.append(value.detach())
        gradients.append(gradient)
    return torch.cat(values), torch.cat(gradients)


def nearest(
    model: nn.Module,
    pixels: Tensor,
    classes: Tensor,
    *,
    max_steps: int,
    on_step: Callable[[], None] = lambda: None,
) -> Crossings:
    """Walk to the boundary of each image's class by linearisation.

    Args:
        model: Pixels in [0, 1] to logits.
        pixels: Starting points ``[N, C, H, W]``.
        classes: Where to turn, ``[N]``.
        max_steps: Linearisations per image at most; an image stops when it has crossed.
        on_step: Called after each.
    """
    (model,) = frozen([model])
    moved = pixels.clone()
    active = torch.arange(len(pixels), device=pixels.device)
    for step in range(max_steps + 1):
        value, gradient = margins_and_gradients(model, moved[active], classes[active])
        on_step()
        behind = value <= 0
        active, value, gradient = active[behind], value[behind], gradient[behind]
        if not len(active) or step == max_steps:
            break
        # [N, C, H, W] -> [N]: ||w||^2, by which a step along w itself is to be divided.
        squares = gradient.flatten(1).square().sum(1).clamp_min(_TINY)
        lengths = (-value + _TINY) / squares
        step_taken = _OVERSHOOT * lengths[:, None, None, None] * gradient
        moved[active] = (moved[active] + step_taken).clamp(0, 1)
    # Once more beyond, so that rounding leaves no end of a ray just short of the class.
    moved = (pixels + _OVERSHOOT * (moved - pixels)).clamp(0, 1)
    return _on_ray(model, pixels, moved - pixels, classes)


def carlini_wagner(
    model: nn.Module,
    pixels: Tensor,
    classes: Tensor,
    *,
    max_steps: int,
    learning_rate: float = 0.001,
    on_step: Callable[[], None] = lambda: None,
) -> Crossings:
    """Minimise the perturbation's squared length and the margin's deficit together.

    Args:
        model: Pixels in [0, 1] to logits.
        pixels: Starting points ``[N, C, H, W]``.
        classes: Where to turn, ``[N]``.
        max_steps: Steps of Adam in all, shared by the values of c.
        learning_rate: Of Adam, in [0, 1] pixel units.
        on_step: Called after each.
    """
    (model,) = frozen([model])
    lowest = torch.zeros(len(pixels), device=pixels.device)
    highest = torch.full_like(lowest, torch.inf)
    weights = torch.full_like(lowest, _FIRST_WEIGHT)
    best, best_squares = torch.zeros_like(pixels), torch.full_like(lowest, torch.inf)
    for _ in range(_WEIGHTS_OF_C):
        moved = pixels.clone().requires_grad_()
        optimiser = torch.optim.Adam([moved], lr=learning_rate)
        has_crossed = torch.zeros_like(lowest, dtype=torch.bool)
        for _ in range(max(1, max_steps // _WEIGHTS_OF_C)):
            value, gradient = margins_and_gradients(model, moved, classes)
            offset = moved.detach() - pixels
            squares = offset.flatten(1).square().sum(1)
            crossed = value >= 0
            has_crossed |= crossed
            nearer = crossed & (squares < best_squares)
            best[nearer], best_squares[nearer] = offset[nearer], squares[nearer]
            pull = torch.where(crossed, 0.0, weights)[:, None, None, None]
            # The gradient of ||d||^2 + c max(-margin, 0), written down instead of traced.
            moved.grad = 2 * offset - pull * gradient
            optimiser.step()
            with torch.no_grad():
                moved.clamp_(0, 1)
            on_step()
        # Too weak a pull never crosses, too strong a one crosses too far.
        highest = torch.where(has_crossed, weights, highest)
        lowest = torch.where(has_crossed, lowest, weights)
        weights = torch.where(highest.isinf(), weights * 10, (lowest + highest) / 2)
    return _on_ray(model, pixels, best, classes)


def _on_ray(model: nn.Module, pixels: Tensor, offsets: Tensor, classes: Tensor) -> Crossings:
    """Shorten each offset, along its ray, to where the class begins."""
    outside = torch.zeros(len(pixels), device=pixels.device)
    inside = torch.ones_like(outside)

    def is_inside(shares: Tensor) -> Tensor:
        with torch.inference_mode():
            points = pixels + shares[:, None, None, None] * offsets
            parts = [
                margins(model(points[part]), classes[part]) >= 0
                for part in micro_batches(points, points.device)
            ]
            return torch.cat(parts)

    is_found = is_inside(inside)
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        # `inside` moves only to points that were found in the class: what is returned was one.
        reached = is_inside(middle)
        inside = torch.where(reached, middle, inside)
        outside = torch.where(reached, outside, middle)
    return Crossings(directions=inside[:, None, None, None] * offsets, is_found=is_found)
