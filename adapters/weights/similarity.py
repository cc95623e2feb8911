"""How similar a network's layers are to those that a sketch was made of, layer by layer.

1. *Alignment.* Both networks' layers stand in the order of computation. Pairs of one kind are
   chosen that keep this order and together are as similar as can be, so that a copy is also found
   within a larger network, or cut short.
2. *In order.* The similarity of a pair is the cosine of the two layers' sketches, all filters
   together: about 0 for independent networks, with an error of ``1 / sqrt(d n)``.
3. *Matched.* Whoever reorders channels makes that 0. Therefore the suspect's input channels are
   also taken in the order in which the filters of the layer before were found. Filters that are
   each other's best by the first half of the numbers are matched, and the cosine is taken of the
   other half, times the share of filters that were matched. Chance therefore adds nothing, however
   many filters there are to choose from.

The larger of the two counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adapters.weights.balanced import balanced
from adapters.weights.layer import NO_LAYER, Layer
from adapters.weights.similarities import GRID, LayerSimilarity
from adapters.weights.sketch import MIN_CHANGE, LayerSketch, WeightSketch, projected, signs

CLEARLY_IN_ORDER = 0.4
"""From here on nobody needs to look for another order."""
FEW_NUMBERS = 32
"""Below so many numbers a filter, half of them tell filters apart less well than all."""
MAX_MATCHED = 4096
"""Filters of a layer up to which another order is looked for."""
MIN_SHARE = 0.25
"""Share of the filters and of the inputs that a pruned layer still has."""

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A layer of the suspect."""

    layer: Layer
    kernel: NDArray[np.float32]
    """Balanced."""
    numbers: NDArray[np.float32]
    """Sketch in the file's own order."""


@dataclass(frozen=True, eq=False)
class _Pair:
    """What two layers come to."""

    similarity: float
    order: NDArray[np.int64]
    """The suspect's filter for each of the source's, `NO_LAYER` for none."""
    is_matched: bool


def compare_layers(sketch: WeightSketch, layers: Sequence[Layer]) -> tuple[LayerSimilarity, ...]:
    """Compare a network with a sketch.

    Args:
        sketch: Of the source.
        layers: The suspect's, in the order of computation.

    Returns:
        One for each layer of the sketch, in its order.
    """
    most = max((one.numbers.shape[1] for one in sketch.layers), default=0)
    # A pruned layer has fewer inputs than the source's, another one more.
    shapes = [one.shape for one in sketch.layers] + [one.shape for one in layers]
    rows = [num_inputs * num_positions for _, num_inputs, num_positions in shapes]
    drawn = signs(sketch.seed, max(rows, default=0), most)
    candidates = []
    for layer in layers:
        kernel = balanced(layer.kernel)
        candidates.append(_Candidate(layer, kernel, projected(kernel, drawn)))
    pairs = _aligned(sketch.layers, candidates)
    orders: dict[int, NDArray[np.int64]] = {}
    found: list[LayerSimilarity] = []
    for number, source in enumerate(sketch.layers):
        partner = pairs.get(number, NO_LAYER)
        if partner == NO_LAYER:
            found.append(LayerSimilarity(partner=NO_LAYER, steps=0))
            continue
        one = candidates[partner]
        columns = _columns(source, one.layer, pairs, orders)
        pair = _paired(source, one, columns, drawn)
        orders[number] = pair.order
        found.append(
            LayerSimilarity(
                partner=partner,
                steps=round(pair.similarity * GRID),
                is_matched=pair.is_matched,
            )
        )
    return tuple(found)


def _aligned(sources: Sequence[LayerSketch], candidates: Sequence[_Candidate]) -> dict[int, int]:
    """Return the partner of each of the source's layers that has one."""
    gains = _gains(sources, candidates)
    # best[i, j]: the most that the layers from i and from j on can gain together.
    best = np.zeros((len(sources) + 1, len(candidates) + 1))
    for row in range(len(sources) - 1, -1, -1):
        # Taking j leaves best[i + 1, j + 1]; leaving i out, best[i + 1, j]; leaving j out, what
        # stands to the right, which the running maximum brings.
        taken = np.where(gains[row] > 0, gains[row] + best[row + 1, 1:], 0.0)
        reached = np.maximum(best[row + 1], [*taken, 0.0])
        best[row] = np.maximum.accumulate(reached[::-1])[::-1]
    pairs: dict[int, int] = {}
    row = column = 0
    while row < len(sources) and column < len(candidates):
        gain = gains[row, column]
        if gain > 0 and best[row, column] == gain + best[row + 1, column + 1]:
            pairs[row] = column
            row, column = row + 1, column + 1
        elif best[row, column] == best[row + 1, column]:
            row += 1
        else:
            column += 1
    return pairs


def _gains(sources: Sequence[LayerSketch], candidates: Sequence[_Candidate]) -> NDArray[np.float64]:
    """Return what pairing two layers is worth, ``[sources, candidates]``; 0 for different kinds."""
    gains = np.zeros((len(sources), len(candidates)))
    if not candidates:
        return gains
    # [candidates, 4]: filters, inputs, positions, whether in groups
    kinds = np.array([_kind(one.layer.shape, one.layer.num_groups) for one in candidates])
    for row, source in enumerate(sources):
        kind = np.array(_kind(source.shape, source.num_groups))
        is_alike = (kinds[:, 2:] == kind[2:]).all(axis=1)
        shares = kinds[:, :2] / kind[:2]
        is_pruned = (shares <= 1).all(axis=1) & (shares >= MIN_SHARE).all(axis=1)
        # Nearly as much as the same shape: a pruned network keeps its number of layers.
        gains[row, is_alike & is_pruned] = 0.99
        same = np.flatnonzero(is_alike & (shares == 1).all(axis=1))
        if len(same):
            # A layer like it anywhere outweighs any number of those that only have its shape.
            alike = _cosines(source, [candidates[int(column)] for column in same])
            gains[row, same] = 1.0 + 100.0 * np.maximum(0.0, alike - 0.2)
    return gains


def _kind(shape: tuple[int, int, int], num_groups: int) -> tuple[int, int, int, int]:
    return (*shape, int(num_groups > 1))


def _cosines(source: LayerSketch, ones: Sequence[_Candidate]) -> NDArray[np.float64]:
    """Return the cosine with each of some layers of the same shape, about."""
    num_numbers = source.numbers.shape[1]
    theirs = np.stack([one.numbers[:, :num_numbers].reshape(-1) for one in ones])  # [C, F]
    began = np.zeros(theirs.shape[1], np.float32)
    if source.ancestral is not None:
        began = source.ancestral.reshape(-1)
    ours = source.numbers.reshape(-1) - began
    products = theirs @ ours - began @ ours
    squares = np.square(theirs).sum(axis=1) - 2 * theirs @ began + began @ began
    norms = np.sqrt(np.maximum(squares, 0) * (ours @ ours))
    cosines = np.zeros(len(ones))
    np.divide(products, norms, out=cosines, where=norms > 0)
    return cosines


def _paired(
    source: LayerSketch,
    one: _Candidate,
    columns: NDArray[np.int64] | None,
    drawn: NDArray[np.float32],
) -> _Pair:
    """Compare two layers, in order or matched, whichever makes them more alike."""
    num_numbers = source.numbers.shape[1]
    numbers = one.numbers[:, :num_numbers]
    own = np.arange(source.shape[0])
    in_order = _Pair(0.0, np.where(own < len(numbers), own, NO_LAYER), is_matched=False)
    likeness = -1.0
    if one.layer.shape == source.shape:
        likeness = _cosine(source.numbers, numbers)
        in_order = replace(in_order, similarity=_learnt(source, numbers))
    if likeness >= CLEARLY_IN_ORDER or columns is None or len(own) > MAX_MATCHED:
        return in_order
    if len(columns) != one.layer.shape[1] or (columns != np.arange(len(columns))).any():
        taken = one.kernel[:, columns]
        taken[:, columns == NO_LAYER] = 0
        numbers = projected(taken, drawn[:, :num_numbers])
    half = num_numbers // 2
    order = _each_others_best(source.numbers[:, :half], numbers[:, :half])
    is_there = order != NO_LAYER
    share = np.count_nonzero(is_there) / min(len(order), len(numbers))
    theirs = np.where(is_there[:, None], numbers[order], 0)
    matched = share * _cosine(source.numbers[is_there, half:], theirs[is_there, half:])
    if matched <= likeness:
        return in_order
    similarity = share * _learnt(source, theirs, is_there, slice(half, None))
    if num_numbers < FEW_NUMBERS:
        # Nothing is measured by this order here, so that all numbers may speak.
        order = _each_others_best(source.numbers, numbers)
    return _Pair(similarity, order, is_matched=True)


def _columns(
    source: LayerSketch,
    layer: Layer,
    pairs: dict[int, int],
    orders: dict[int, NDArray[np.int64]],
) -> NDArray[np.int64] | None:
    """Return the suspect's input channel for each of the source's, ``[in]``; -1 for none.

    None where nobody knows.
    """
    num_inputs, inputs = source.shape[1], layer.shape[1]
    is_known = source.before != NO_LAYER and pairs.get(source.before) == layer.before
    if not is_known or source.num_groups != 1:
        return np.arange(num_inputs) if inputs == num_inputs else None
    order = orders[source.before]
    # Flattened features: the places of one channel stand side by side.
    num_places = num_inputs // len(order)
    places = order[:, None] * num_places + np.arange(num_places)
    columns = np.where(order[:, None] == NO_LAYER, NO_LAYER, places).reshape(-1)
    # A graph may say that channels come from a layer that has others.
    return columns if len(columns) == num_inputs and columns.max() < inputs else None


def _each_others_best(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the filter of theirs for each of ours whose best it is and which is its own best.

    Args:
        ours: ``[n, d]``.
        theirs: ``[m, d]``.

    Returns:
        ``[n]``; `NO_LAYER` for none.

    Example:
        >>> ours = np.array([[1.0, 0.0], [0.9, 0.4]], np.float32)
        >>> _each_others_best(ours, ours[:1])
        array([ 0, -1])
    """
    likeness = _unit(ours) @ _unit(theirs).T
    best = likeness.argmax(axis=1)
    is_mutual = likeness.argmax(axis=0)[best] == np.arange(len(likeness))
    return np.where(is_mutual, best, NO_LAYER)


def _learnt(
    source: LayerSketch,
    numbers: NDArray[np.float32],
    is_there: NDArray[np.bool_] | slice = _ALL,
    part: slice = _ALL,
) -> float:
    """Return the cosine of what both layers learnt: all, or what they did since the ancestor."""
    ours, theirs = source.numbers[is_there, part], numbers[is_there, part]
    if source.ancestral is None:
        return _cosine(ours, theirs)
    began = source.ancestral[is_there, part]
    # What 16 bits round is no learning.
    if not theirs.size or np.square(theirs - began).mean() < MIN_CHANGE**2:
        return 0.0
    return _cosine(ours - began, theirs - began)


def _cosine(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the cosine of two layers' numbers, all filters together; 0 if either is zero."""
    product = float((ours * theirs).sum(dtype=np.float64))
    norms = float(np.square(ours).sum(dtype=np.float64) * np.square(theirs).sum(dtype=np.float64))
    # Rounding may lead a hair beyond 1.
    return float(np.clip(product / np.sqrt(norms), -1, 1)) if norms > 0 else 0.0


def _unit(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.sqrt(np.square(numbers).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = np.divide(
        numbers, norms, out=np.zeros_like(numbers), where=norms > 0
    )
    return unit
