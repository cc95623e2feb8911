"""A sketch as bundles store it and as it is handed to a suspect's process: heads, and two rows.

All numbers of all layers stand one after the other, filter by filter: int8 multiples of 1/32, or
float16 where the ancestor's stand beside them. What a layer looks like stands in its head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from adapters.weights.sketch import CODE_STEP, LayerSketch, WeightSketch


@dataclass(frozen=True, kw_only=True)
class LayerHead:
    """What is told of a layer besides its numbers."""

    num_filters: int
    num_inputs: int
    """Input channels of one group."""
    num_positions: int
    num_groups: int
    before: int
    """Place of the layer whose filters are the inputs; -1 if none."""
    num_numbers: int
    """Of each filter."""

    @property
    def row(self) -> tuple[int, ...]:
        """Return the fields in their order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def from_row(cls, row: Sequence[int]) -> "LayerHead":
        """Return the head with these fields, in their order."""
        names = (field.name for field in fields(cls))
        return cls(**dict(zip(names, row, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedSketch:
    """A whole sketch; compared by identity, as it is large."""

    seed: int
    heads: tuple[LayerHead, ...]
    numbers: NDArray[np.int8] | NDArray[np.float16]
    """``[sum of num_filters * num_numbers]``"""
    ancestral: NDArray[np.float16]
    """The same of the ancestor; empty without one."""


def num_values(heads: Sequence[LayerHead]) -> int:
    """Return how many numbers the layers of these heads have together."""
    return sum(head.num_filters * head.num_numbers for head in heads)


def pack(sketch: WeightSketch) -> PackedSketch:
    """Return a sketch as it is stored."""
    has_ancestor = any(layer.ancestral is not None for layer in sketch.layers)
    numbers = [layer.numbers.reshape(-1) for layer in sketch.layers]
    whole = np.concatenate(numbers) if numbers else np.zeros(0, np.float32)
    ancestral = [
        layer.ancestral.reshape(-1) for layer in sketch.layers if layer.ancestral is not None
    ]
    return PackedSketch(
        seed=sketch.seed,
        heads=tuple(
            LayerHead(
                num_filters=layer.shape[0],
                num_inputs=layer.shape[1],
                num_positions=layer.shape[2],
                num_groups=layer.num_groups,
                before=layer.before,
                num_numbers=layer.numbers.shape[1],
            )
            for layer in sketch.layers
        ),
        numbers=(
            whole.astype(np.float16) if has_ancestor else np.rint(whole / CODE_STEP).astype(np.int8)
        ),
        ancestral=np.concatenate(ancestral).astype(np.float16)
        if ancestral
        else np.zeros(0, np.float16),
    )


def unpack(packed: PackedSketch) -> WeightSketch:
    """Return a stored sketch as it is compared."""
    step = np.float32(CODE_STEP if packed.numbers.dtype == np.int8 else 1.0)
    layers, start = [], 0
    for head in packed.heads:
        size = (head.num_filters, head.num_numbers)
        end = start + head.num_filters * head.num_numbers
        layers.append(
            LayerSketch(
                shape=(head.num_filters, head.num_inputs, head.num_positions),
                num_groups=head.num_groups,
                before=head.before,
                numbers=packed.numbers[start:end].reshape(size).astype(np.float32) * step,
                ancestral=packed.ancestral[start:end].reshape(size).astype(np.float32)
                if packed.ancestral.size
                else None,
            )
        )
        start = end
    return WeightSketch(seed=packed.seed, layers=tuple(layers))
