"""SAC: images whose answers resemble each other in the source's own way.

Guan, Liang, He, "Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural
Networks", NeurIPS 2022. Nothing is optimised; the choice of images is the method:

- SAC-m (``images="cutmix"``): a patch of another clean image is pasted into each clean image,

      x = M * a + (1 - M) * b

  with M zero on a square of a share ``patch`` of each side, 0.2 in the authors' code, whose centre
  lies in a corner: within a sixth of the image from two edges. It needs no labels.
- SAC-w (``images="misclassified"``): natural images that the source gets wrong, as in AKH.

The score compares correlation matrices of answers (`audit.scores.sample_correlation`), from
probabilities where the suspect tells them, otherwise from labels. Defaults are the authors' code
(guanjiyang/SAC): SAC-m with 100 images; pastes come from the clean images of the same run.

Shapes: images ``[N, H, W, C]`` uint8, labels ``[N]``.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from adapters.strict_model import FrozenModel
from generator.crafting.clean_images import right_images
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.crafting.source_errors import source_errors
from generator.sources.torch_suspect import predict_logits

_BORDER = 1 / 6
"""The patch's centre lies within this share of a side from the edge (authors' code)."""


class SacOptions(FrozenModel):
    """Settings of SAC; defaults as in the authors' code."""

    images: Literal["cutmix", "misclassified"] = "cutmix"
    """SAC-m or SAC-w."""
    patch: Annotated[float, Field(gt=0, le=0.9)] = 0.2
    """Side of the pasted patch as a share of the image's (SAC-m)."""


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: SacOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Choose or paste images (see `FingerprintMethod.craft`).

    Findings: for SAC-m ``clean_images`` and ``pasted_into``, for SAC-w ``clean_images`` and
    ``errors``.

    Raises:
        GenerationError: The source is near chance, or makes no error (SAC-w).
    """
    if options.images == "misclassified":
        chosen, num_errors = source_errors(source, carriers, labels, num_images=num_images, rng=rng)
        images = carriers[chosen]
        findings = {"clean_images": len(carriers), "errors": num_errors}
    else:
        right_images(source, carriers, labels, rng)  # refuses a source near chance
        chosen = rng.permutation(len(carriers))[:num_images]
        # each with the next one: no image is pasted into itself
        images = cutmix(carriers[chosen], carriers[np.roll(chosen, -1)], options.patch, rng)
        findings = {"clean_images": len(carriers), "pasted_into": len(chosen)}
    on_step(1, 1)
    return Fingerprint(
        images=images,
        labels=predict_logits(source, images).argmax(axis=1),
        carriers=carriers[chosen],
        groups=np.arange(len(chosen)),
        findings=findings,
    )


def cutmix(
    images: NDArray[np.uint8],
    others: NDArray[np.uint8],
    patch: float,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Paste a square of each other image into its partner, at the same place.

    Args:
        images: ``[N, H, W, C]``.
        others: ``[N, H, W, C]``.
        patch: Side of the square as a share of the image's.
        rng: Draws the places, near the edges.

    Returns:
        ``[N, H, W, C]``; at least one pixel of each image is pasted.
    """
    mixed = images.copy()
    for index, other in enumerate(others):
        rows, columns = (_span(side, patch, rng) for side in images.shape[1:3])
        mixed[index, rows, columns] = other[rows, columns]
    return mixed


def _span(side: int, patch: float, rng: np.random.Generator) -> slice:
    """Return where the patch lies along one side: its centre is near either end."""
    length, border = max(1, round(side * patch)), max(1, round(side * _BORDER))
    # Along each side near one of its ends, so that the centre lies in a corner.
    offset = int(rng.integers(border))
    center = offset if rng.integers(2) else side - 1 - offset
    start = min(max(center - length // 2, 0), side - 1)
    return slice(start, max(start + 1, min(center - length // 2 + length, side)))


METHOD = FingerprintMethod(
    name="sac",
    title="SAC, sample correlation (Guan et al., NeurIPS 2022)",
    options=SacOptions,
    score="sample-correlation",
    needs=frozenset(),
    craft=craft,
)
