"""A layer's weights as every part of this room takes them, whatever file they came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_LAYER = -1
"""In the place of a layer's number: there is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A convolution or a matrix product."""

    name: str
    """Of its weights in the file; only for people."""
    kernel: NDArray[np.float32]
    """``[out, in, positions]``: filters, input channels of one group, places of the kernel in row
    order (1 for a matrix). Finite; the batch norm behind it is folded in."""
    num_groups: int = 1
    """Groups of a convolution."""
    before: int = NO_LAYER
    """Number of the layer whose filters are the input channels, in their order; `NO_LAYER` where
    they are the image's, or where nobody knows."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return ``(out, in, positions)``."""
        num_filters, num_inputs, num_positions = self.kernel.shape
        return num_filters, num_inputs, num_positions


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkLayers:
    """What of a network's weights could be read."""

    layers: tuple[Layer, ...]
    """Each behind all that it takes, longer branches before shorter ones."""
    num_hidden: int = 0
    """Layers whose weights are computed when the network runs, or are no finite numbers."""
    num_left_out: int = 0
    """Layers beyond what is looked at."""
