"""RC-examples: Characteristic Examples that outlast changes of the weights.

The robust kind of Wang et al., IJCAI 2021 (`generator.crafting.characteristic_descent`):

    min_d  E_{|e| <= delta} CE(f_{theta + e}(x_0 + d), t)

Each step draws fresh noise e for several copies of the weights and takes the mean of their
gradients (the paper's Gradient Mean). delta is relative: uniform noise in ``+-delta std(w)`` is
added to each weight tensor w of a convolution or linear layer, so that layers of any scale are
disturbed alike. The mean loss over the copies is what has to fall below the goal.
"""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from generator.crafting.characteristic_descent import (
    CharacteristicOptions,
    Gradients,
    craft_from_noise,
    into_cube,
    loss_and_gradient,
)
from generator.crafting.ensemble import frozen
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step


class RobustOptions(CharacteristicOptions):
    """How the weights are disturbed."""

    delta: Annotated[float, Field(gt=0, le=2)] = 0.3
    """Bound of the noise relative to the standard deviation of each weight tensor."""
    num_copies: Annotated[int, Field(ge=1, le=100)] = 8
    """Disturbed copies whose gradients are averaged in a step."""


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: RobustOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step | None = None,
) -> Fingerprint:
    """Craft RC-examples; see `FingerprintMethod.craft`. Of the carriers only the size is used."""
    return craft_from_noise(
        source,
        carriers,
        disturbed_gradients(source, options, rng),
        into_cube(options.radius),
        options,
        num_images=num_images,
        rng=rng,
        on_step=on_step,
    )


def disturbed_gradients(
    source: nn.Module, options: RobustOptions, rng: np.random.Generator
) -> Gradients:
    """Return the mean loss and gradient over freshly disturbed copies of the source."""
    (model,) = frozen([source])
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    clean = [weight.clone() for weight in weights]
    bounds = [options.delta * float(weight.std(correction=0)) for weight in weights]
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))

    def mean_gradients(pixels: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        losses = torch.zeros(len(pixels), device=device)
        gradients = torch.zeros_like(pixels)
        for _ in range(options.num_copies):
            for weight, value, bound in zip(weights, clean, bounds, strict=True):
                noise = torch.rand(weight.shape, generator=generator, device=device)
                # From the clean weights each time, or the noise would add up.
                weight.copy_(value + bound * (2 * noise - 1))
            loss, gradient = loss_and_gradient(model, pixels, goals)
            losses += loss / options.num_copies
            gradients += gradient / options.num_copies
        return losses, gradients

    return mean_gradients


METHOD = FingerprintMethod(
    name="rc-examples",
    title="RC-examples: robust Characteristic Examples (Wang et al., IJCAI 2021)",
    options=RobustOptions,
    score="matching-rate",
    needs=frozenset(),
    craft=craft,
)
