"""A sketch of a layer: enough to tell how similar another one is, too little to rebuild it.

Each filter of the balanced layer (`adapters.weights.balanced`) becomes a few inner products with
secret random signs: ``s = w R``, R in ``{-1, 1}^(D x d)``. The inner product of two sketches,
divided by d, is that of the filters but for an error of about ``1 / sqrt(d)`` a filter (Achlioptas,
"Database-friendly random projections", 2003), and an error of about ``1 / sqrt(d n)`` over the n
filters of a layer. Of the D directions of a filter d are told: at most a quarter, or half of those
of small filters, such as see the image. The scales of filters and channels are not told at all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.weights.balanced import balanced
from adapters.weights.layer import NO_LAYER, Layer

MAX_NUMBERS = 64
"""Numbers that are kept of a filter."""
MAX_ANCESTRAL_NUMBERS = 16
"""The same where the ancestor's are kept beside them, in 16 bits each."""
VALUES_PER_NUMBER = 4
"""A filter of so many weights gives one number at most."""
SMALL_VALUES_PER_NUMBER, SMALL_NUMBERS = 2, 16
"""The same for small filters, up to so many numbers: fewer would not tell them apart."""
MIN_CHANGE = 0.005
"""Mean change of a filter, relative to its norm, that 16 bits can tell from none."""
CODE_STEP = 1 / 32
"""Numbers are kept as multiples of it, in 8 bits: those of a filter of norm 1 have variance 1."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSketch:
    """What is kept of one of the source's layers."""

    shape: tuple[int, int, int]
    """``(out, in, positions)``"""
    num_groups: int
    before: int
    """As of `adapters.weights.layer.Layer`, among the sketch's own layers."""
    numbers: NDArray[np.float32]
    """``[out, d]``"""
    ancestral: NDArray[np.float32] | None = None
    """The same of the ancestor, where there is one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightSketch:
    """What is kept of the source's weights."""

    seed: int
    """Of the signs, 64 bits; secret as long as the bundle is."""
    layers: tuple[LayerSketch, ...]


def numbers_of(layer: Layer, *, most: int = MAX_NUMBERS) -> int:
    """Return d, how many numbers are kept of each filter of a layer.

    Example:
        >>> layer = Layer(name="", kernel=np.zeros((16, 3, 9), np.float32))
        >>> numbers_of(layer), numbers_of(layer, most=4)
        (13, 4)
    """
    _, num_inputs, num_positions = layer.shape
    size = num_inputs * num_positions
    small = min(size // SMALL_VALUES_PER_NUMBER, SMALL_NUMBERS)
    return min(most, max(size // VALUES_PER_NUMBER, small))


def signs(seed: int, num_rows: int, num_numbers: int) -> NDArray[np.float32]:
    """Return the random signs R.

    Row i is the bits of SplitMix64's output number i + 1 from ``seed`` on (Steele et al., "Fast
    splittable pseudorandom number generators", 2014), the lowest first, 0 as -1 and 1 as 1. Fewer
    rows and fewer columns are the beginning of more.

    Args:
        seed: 64 bits.
        num_rows: D.
        num_numbers: d, at most 64.

    Returns:
        ``[D, d]``.

    Example:
        The generator's first outputs from 1 on are 910A2DEC89025CC1 and BEEB8DA1658EEC67.

        >>> signs(1, 2, 4)
        array([[ 1., -1., -1., -1.],
               [ 1.,  1.,  1., -1.]], dtype=float32)
    """
    with np.errstate(over="ignore"):
        state = np.uint64(seed) + _GOLDEN * np.arange(1, num_rows + 1, dtype=np.uint64)
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
    # [D] -> [D, 8] bytes, the lowest first -> [D, 64] bits
    bits = np.unpackbits(
        state.astype("<u8").view(np.uint8).reshape(num_rows, 8), axis=1, bitorder="little"
    )
    return np.asarray(2.0 * bits[:, :num_numbers] - 1.0, dtype=np.float32)


def projected(kernel: NDArray[np.float32], drawn: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sketch ``[out, d]`` of a balanced kernel ``[out, in, positions]``.

    Args:
        kernel: Balanced.
        drawn: Signs, ``[at least in * positions, d]``.
    """
    flat = kernel.reshape(len(kernel), -1)
    return flat @ drawn[: flat.shape[1]]


def sketch_layers(
    layers: tuple[Layer, ...], *, seed: int, ancestor: tuple[Layer, ...] | None = None
) -> WeightSketch:
    """Sketch the source's layers.

    Args:
        layers: The source's, in order.
        seed: Of the signs, 64 bits.
        ancestor: Layers of the network that the source was fine-tuned from, in order; those of
            the same place and shape are taken for the same. A layer that it does not have began
            from nothing.

    Returns:
        A sketch of the layers that `sketched` names.
    """
    most = MAX_NUMBERS if ancestor is None else MAX_ANCESTRAL_NUMBERS
    places = {id(layer): number for number, layer in enumerate(layers)}
    kept: dict[int, int] = {}
    made: list[LayerSketch] = []
    for layer in sketched(layers, ancestor=ancestor):
        number = places[id(layer)]
        kept[number] = len(made)
        num_numbers = numbers_of(layer, most=most)
        drawn = signs(seed, layer.shape[1] * layer.shape[2], num_numbers)
        numbers = projected(balanced(layer.kernel), drawn)
        ancestral = None
        if ancestor is not None:
            ancestral = projected(balanced(_began(number, layer, ancestor)), drawn)
        made.append(
            LayerSketch(
                shape=layer.shape,
                num_groups=layer.num_groups,
                before=kept.get(layer.before, NO_LAYER),
                numbers=_coded(numbers) if ancestral is None else _halved(numbers),
                ancestral=None if ancestral is None else _halved(ancestral),
            )
        )
    return WeightSketch(seed=seed, layers=tuple(made))


def sketched(
    layers: tuple[Layer, ...], *, ancestor: tuple[Layer, ...] | None = None
) -> tuple[Layer, ...]:
    """Return the layers that have a sketch.

    Those whose filters have at least 4 weights, and that were not left as the ancestor had them: of
    a frozen layer there is nothing that was learnt since.
    """
    return tuple(
        layer
        for number, layer in enumerate(layers)
        if numbers_of(layer) >= 2
        and (
            ancestor is None or _change(layer.kernel, _began(number, layer, ancestor)) > MIN_CHANGE
        )
    )


def _began(number: int, layer: Layer, ancestor: tuple[Layer, ...]) -> NDArray[np.float32]:
    """Return the kernel with which a layer began; zeros where the ancestor has no such layer."""
    if number < len(ancestor) and ancestor[number].shape == layer.shape:
        return ancestor[number].kernel
    return np.zeros_like(layer.kernel)


def _change(kernel: NDArray[np.float32], began: NDArray[np.float32]) -> float:
    """Return how far apart two kernels are once balanced, relative to a filter's norm."""
    distance = np.square(balanced(kernel) - balanced(began)).sum(dtype=np.float64)
    return float(np.sqrt(distance / len(kernel)))


def _coded(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = np.clip(np.rint(numbers / CODE_STEP), -127, 127)
    return np.asarray(steps * CODE_STEP, dtype=np.float32)


def _halved(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    return numbers.astype(np.float16).astype(np.float32)
