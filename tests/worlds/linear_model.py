"""A classifier whose margins, gradients and boundary distances are known by hand."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adapters.strict_model import FrozenModel
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools
from generator.images.labelled import ImageSet
from generator.sources.torch_suspect import predict_logits

SIDE, CLASSES = 4, 4
"""Of the images and the models of `linear_world`."""


class LinearModel(nn.Module):
    """Logits are ``W x + b``, with x the pixels in [0, 1] in the order channel, row, column.

    Args:
        weights: W, one row per class.
        bias: b, by default zero.
    """

    def __init__(
        self, weights: Sequence[Sequence[float]], bias: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.map = nn.Linear(len(weights[0]), len(weights))
        with torch.no_grad():
            self.map.weight.copy_(torch.tensor(weights))
            self.map.bias.copy_(torch.tensor(bias or [0.0] * len(weights)))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.map(pixels.flatten(1))
        return logits


def linear_world(
    channels: int = 3,
    num_derived: int = 2,
    num_innocents: int = 2,
    likeness: float = 1.0,
    num_classes: int = CLASSES,
) -> tuple[nn.Module, Pools, ImageSet]:
    """Return a source, models that lean towards it, innocents, and images as the source sees them.

    Every model's weights have a part that all share, ``likeness`` times as large as the other part,
    which is nearly the source's in a derived model and an innocent's own.
    """
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(2, num_classes, SIDE * SIDE * channels))
    derived = [0.9 * own + 0.1 * rng.normal(size=own.shape) for _ in range(num_derived)]
    innocents = [rng.normal(size=own.shape) for _ in range(num_innocents)]
    source, *others = (
        LinearModel((3 * (likeness * shared + weights)).tolist())
        for weights in (own, *derived, *innocents)
    )
    images = rng.integers(60, 196, (60, SIDE, SIDE, channels), dtype=np.uint8)
    labels = predict_logits(source, images).argmax(axis=1)
    pools = Pools(derived=others[:num_derived], innocents=others[num_derived:])
    return source, pools, ImageSet(images, labels, ())


def crafted(
    method: FingerprintMethod,
    options: FrozenModel,
    source: nn.Module,
    pools: Pools,
    data: ImageSet,
    num: int,
) -> Fingerprint:
    """Craft as a command does, always from the same draws."""
    return method.craft(
        source,
        data.images,
        data.labels,
        pools,
        options,
        num_images=num,
        rng=np.random.default_rng(0),
        on_step=lambda done, total: None,
    )
