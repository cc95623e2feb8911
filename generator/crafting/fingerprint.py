"""What every fingerprint method of the literature takes and gives, so that all can be compared.

A method is one file of `generator.methods` with an object named ``METHOD``. It takes the source,
clean images and, where it needs them, pools of other models, and gives images with the source's
labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from adapters.strict_model import FrozenModel
from audit.bundle.manifest import Scalar


@dataclass(frozen=True, kw_only=True)
class Pools:
    """Other models that some methods craft with; pixels in [0, 1] to logits, any architectures.

    None of them may be used to calibrate or to report.
    """

    derived: Sequence[nn.Module] = ()
    """Derived from the source: surrogates, mimics, shadow positives, pirated models."""
    innocents: Sequence[nn.Module] = ()
    """Trained without the source: references, shadow negatives."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Images that tell derived models from others, N of them, on the 8-bit grid."""

    images: NDArray[np.uint8]
    """``[N, H, W, C]``"""
    labels: NDArray[np.int64]
    """The source's class of each image as stored, after rounding, ``[N]``."""
    carriers: NDArray[np.uint8]
    """The clean image or starting point of each image, ``[N, H, W, C]``."""
    groups: NDArray[np.int64]
    """Images that count together, such as one trajectory; otherwise ``arange(N)``."""
    findings: Mapping[str, Scalar] = field(default_factory=dict)
    """What crafting found out, for the manifest: how many anchors were feasible, ..."""


Step = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True, kw_only=True)
class FingerprintMethod:
    """One method, as a command and the arena see it."""

    name: str
    """As in ``--method``."""
    title: str
    """With authors, venue and year."""
    options: type[FrozenModel]
    """Its settings with ranges; every field has a default."""
    score: Literal["matching-rate", "trajectory-rate", "sample-correlation"]
    """How an auditor judges the answers (`audit.scores`)."""
    needs: frozenset[Literal["derived", "students", "innocents", "labelled-errors"]]
    """What it cannot do without."""
    craft: Callable[..., Fingerprint]
    """``craft(source, carriers, labels, pools, options, *, num_images, rng, on_step)``.

    Args:
        source: Pixels in [0, 1] to logits, in evaluation mode, on the device that computes.
        carriers: Clean images ``[M, H, W, C]`` uint8, more than are wanted; a method takes those
            that suit it.
        labels: Their true classes ``[M]``.
        pools: `Pools`; empty where the method needs none.
        options: An instance of `options`.
        num_images: How many images (trajectories) are wanted, N.
        rng: `numpy.random.Generator`, the only source of randomness.
        on_step: `Step`.

    Raises:
        GenerationError: What is needed is missing, or no image could be made; says the count and
            the reason.
    """
