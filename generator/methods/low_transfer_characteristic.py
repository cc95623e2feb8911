"""LTRC-examples: RC-examples whose perturbation holds high frequencies only.

The low-transferability kind of Wang et al., IJCAI 2021 (`generator.crafting.characteristic_descent`
and `generator.methods.robust_characteristic`). Independent models share what low frequencies mean
to them more than high ones, so that the lowest frequencies of the perturbation are removed:

    d <- shrink(H(d - step sign(gradient)))

H is the orthogonal projection that zeroes the lowest coefficients of the two-dimensional discrete
cosine transform; shrinking scales d as a whole into the radius, which keeps it in H's image, where
clipping would not. What remains below the cut is the rounding to 8 bits alone.

High frequencies do not survive blur, JPEG or resizing in front of a suspect.
"""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import fft
from torch import Tensor, nn

from generator.crafting.characteristic_descent import Projection, craft_from_noise
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.methods.robust_characteristic import RobustOptions, disturbed_gradients


class LowTransferOptions(RobustOptions):
    """Which frequencies are removed."""

    cut: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the transform's coefficients that are zeroed, lowest first."""


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: LowTransferOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step | None = None,
) -> Fingerprint:
    """Craft LTRC-examples; see `FingerprintMethod.craft`. Of the carriers only the size is used."""
    height, width = carriers.shape[1:3]
    device = next(source.parameters()).device
    return craft_from_noise(
        source,
        carriers,
        disturbed_gradients(source, options, rng),
        high_pass_ball(height, width, options.cut, options.radius, device),
        options,
        num_images=num_images,
        rng=rng,
        on_step=on_step,
    )


def high_frequencies(height: int, width: int, cut: float) -> NDArray[np.bool_]:
    """Return which coefficients of the cosine transform are kept, ``[H, W]``.

    Frequency (i, j) counts as ``i / H + j / W``; the ``floor(cut H W)`` lowest are left out.

    Example:
        >>> high_frequencies(2, 2, 0.75).astype(int)
        array([[0, 0],
               [0, 1]])
    """
    frequency = np.arange(height)[:, None] / height + np.arange(width) / width
    kept = np.ones(height * width, dtype=np.bool_)
    kept[np.argsort(frequency.ravel(), kind="stable")[: int(cut * height * width)]] = False
    return kept.reshape(height, width)


def high_pass_ball(
    height: int, width: int, cut: float, radius: float, device: torch.device
) -> Projection:
    """Return the map into the high-pass perturbations with ``||d||_inf <= radius``."""
    # Rows are the orthonormal cosine vectors: coefficients = R d C^T, and back R^T c C.
    rows, columns = (
        torch.tensor(fft.dct(np.eye(size), axis=0, norm="ortho"), dtype=torch.float32).to(device)
        for size in (height, width)
    )
    kept = torch.from_numpy(high_frequencies(height, width, cut)).to(device)

    def project(perturbation: Tensor) -> Tensor:
        # [N, C, H, W] -> the same: the products are over the last two axes.
        passed = rows.T @ (kept * (rows @ perturbation @ columns.T)) @ columns
        largest = passed.abs().amax(dim=(1, 2, 3), keepdim=True)
        # A factor of 1 for what lies within the radius.
        return passed * (radius / largest.clamp(min=radius))

    return project


METHOD = FingerprintMethod(
    name="ltrc-examples",
    title="LTRC-examples: low-transferability Characteristic Examples (Wang et al., IJCAI 2021)",
    options=LowTransferOptions,
    score="matching-rate",
    needs=frozenset(),
    craft=craft,
)
