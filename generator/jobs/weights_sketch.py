"""The sketch of the source's weights, and how near the weights of all other models are by it.

Innocents and copies calibrate whether they shaped queries or not: no query has a part in this.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch

from adapters.onnx.suspect import OnnxSuspect
from adapters.weights.layer import Layer
from adapters.weights.packed_sketch import PackedSketch, pack
from adapters.weights.similarities import Similarities
from adapters.weights.similarity import compare_layers
from adapters.weights.sketch import WeightSketch, sketch_layers, sketched
from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import Manifest
from audit.bundle.weights import (
    SketchedLayer,
    Weights,
    WeightsArrays,
    WeightsModel,
    WeightsRecord,
)
from audit.scores.weight_kinship import is_comparable, weight_kinship
from audit.signing.canonical import sha256_hex
from audit.verdict.weights.one_verdict import weights_level
from generator.errors import GenerationError
from generator.pools.references import PoolModel
from generator.sources.ancestor import inner
from generator.sources.source import Normalised, Source
from generator.sources.torch_layers import LayerReader


def sketch_seed(*parts: str) -> int:
    """Return the seed of the signs, which nobody knows who does not know all parts."""
    return int(sha256_hex(" ".join(("kinprint-weights-v1", *parts)).encode())[:16], 16)


def make_weights(
    source: Source,
    models: Sequence[PoolModel],
    *,
    image_shape: tuple[int, int, int],
    seed: int,
    report: Callable[[str, int, int], None],
) -> Weights:
    """Sketch the source and compare every model that has weights of its own.

    Args:
        source: Its ancestor, if it has one, is what kinship is counted from.
        models: Innocents and derived models; deployments, which have the source's weights, are
            left out, and so is whose layers are not the source's.
        image_shape: ``(H, W, C)``.
        seed: Of the signs, 64 bits (`sketch_seed`).
        report: Progress.

    Raises:
        GenerationError: The source cannot be exported, or has no layer to sketch.
    """
    reader = LayerReader(image_shape)
    layers = reader.read(source.model).layers
    ancestor = None if source.ancestor is None else _ancestral_layers(source, reader)
    sketch = sketch_layers(layers, seed=seed, ancestor=ancestor)
    if not sketch.layers:
        raise GenerationError(
            "sketch: expected a network with convolutions or linear layers of at least 8 weights a "
            "filter, got none; craft without --sketch"
        )
    packed = pack(sketch)
    found = []
    for done, model in enumerate(models, start=1):
        similarities = _compared(model, sketch, packed, reader)
        if similarities is not None and is_comparable(similarities):
            found.append(_record(model, weight_kinship(similarities)))
        report("weights", done, len(models))
    names = [layer.name for layer in sketched(layers, ancestor=ancestor)]
    return Weights(
        record=WeightsRecord(
            seed=f"{seed:016x}",
            layers=tuple(_layers(names, packed)),
            has_ancestor=ancestor is not None,
            models=tuple(sorted(found, key=lambda model: model.role, reverse=True)),
            arrays={},
            arrays_file_sha256=UNSEALED,
        ),
        arrays=WeightsArrays(numbers=packed.numbers, ancestral=packed.ancestral),
    )


def sketch_words(manifest: Manifest, weights: Weights) -> str:
    """Return what a sketch is good for, in a sentence."""
    level = weights_level(weights.record, manifest.verdict_alpha)
    told = f"Sketch of {len(weights.record.layers)} layers, {weights.arrays.numbers.size} numbers: "
    if level is None:
        return (
            f"{told}too few innocents have such layers, so that weights are told and decide "
            "nothing; give more of the source's own architecture."
        )
    return (
        f"{told}files are judged by their weights, too, which accuse at most a share of "
        f"{level:.3g} of innocent models; that comes to the verdict's rate."
    )


def _layers(names: Sequence[str], packed: PackedSketch) -> Iterator[SketchedLayer]:
    for name, head in zip(names, packed.heads, strict=True):
        yield SketchedLayer(name=name, **vars(head))


def _ancestral_layers(source: Source, reader: LayerReader) -> tuple[Layer, ...]:
    """Return the ancestor's layers; those of the owner's own head are zero, where it began."""
    assert source.ancestor is not None, "asked for only where there is one"
    network = copy.deepcopy(source.model)
    source.ancestor.begin(network.network)
    with torch.no_grad():
        for name, parameter in inner(network.network).named_parameters():
            if name in source.ancestor.head:
                parameter.zero_()
    return reader.read(network).layers


def _compared(
    model: PoolModel, sketch: WeightSketch, packed: PackedSketch, reader: LayerReader
) -> Similarities | None:
    if isinstance(model.network, Normalised):
        network = reader.read(model.network)
        return Similarities(
            layers=compare_layers(sketch, network.layers), num_layers=len(network.layers)
        )
    if isinstance(model.suspect, OnnxSuspect):
        return model.suspect.compare_weights(packed)
    return None


def _record(model: PoolModel, kinship: float) -> WeightsModel:
    return WeightsModel(
        name=model.name,
        role=model.role,
        kind=model.stratum,
        lineage=model.lineage or f"{model.role} {model.name}",
        weights_sha256=model.weights_sha256,
        kinship=kinship,
    )
