"""C-examples: noise driven into a class of the source, without data or other models.

The vanilla kind of Wang et al., IJCAI 2021 (`generator.crafting.characteristic_descent`): the
source's own gradient, any perturbation within the radius.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.crafting.characteristic_descent import (
    CharacteristicOptions,
    craft_from_noise,
    into_cube,
    loss_and_gradient,
)
from generator.crafting.ensemble import frozen
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: CharacteristicOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step | None = None,
) -> Fingerprint:
    """Craft C-examples; see `FingerprintMethod.craft`. Of the carriers only the size is used."""
    (model,) = frozen([source])
    return craft_from_noise(
        source,
        carriers,
        partial(loss_and_gradient, model),
        into_cube(options.radius),
        options,
        num_images=num_images,
        rng=rng,
        on_step=on_step,
    )


METHOD = FingerprintMethod(
    name="c-examples",
    title="C-examples: Characteristic Examples (Wang et al., IJCAI 2021)",
    options=CharacteristicOptions,
    score="matching-rate",
    needs=frozenset(),
    craft=craft,
)
