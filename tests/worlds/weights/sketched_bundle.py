"""The known bundle with a sketch of a drawn network, and calibration models of known kinship.

19 innocent lineages have the kinship 0.00 to 0.18, so that weights have the level 1 / 20. Derived
models are pruned (0.9), hardened (0.8) or students (0.02): "derived" begins half-way from 0.18 to
0.8, which is 0.49.
"""

import hashlib
from dataclasses import replace

from adapters.weights.onnx_layers import layers_of
from adapters.weights.packed_sketch import pack
from adapters.weights.sketch import sketch_layers
from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import BundleContents
from audit.bundle.weights import SketchedLayer, Weights, WeightsArrays, WeightsModel, WeightsRecord
from worlds.audit_world import known_bundle
from worlds.weights.networks import LAYERS, Tensors, drawn, network

SEED = 0x0123456789ABCDEF
LEVEL = 0.05
DERIVED_ABOVE = 0.49


def sketched(
    tensors: Tensors, *, num_innocents: int = 19, ancestor: Tensors | None = None
) -> Weights:
    """Return a sketch of a network, with the calibration models."""
    began = None if ancestor is None else layers_of(network(ancestor)).layers
    packed = pack(sketch_layers(layers_of(network(tensors)).layers, seed=SEED, ancestor=began))
    innocents = [_model("innocent", "same recipe", n, n / 100) for n in range(num_innocents)]
    derived = [
        _model("derived", kind, 3 * place + number, kinship)
        for place, (kind, kinship) in enumerate(
            (("pruned", 0.9), ("hardened", 0.8), ("student", 0.02))
        )
        for number in range(3)
    ]
    return Weights(
        record=WeightsRecord(
            seed=f"{SEED:016x}",
            layers=tuple(
                SketchedLayer(name=name, **vars(head))
                for name, head in zip(LAYERS, packed.heads, strict=True)
            ),
            has_ancestor=ancestor is not None,
            models=(*innocents, *derived),
            arrays={},
            arrays_file_sha256=UNSEALED,
        ),
        arrays=WeightsArrays(numbers=packed.numbers, ancestral=packed.ancestral),
    )


def sketched_bundle(*, num_innocents: int = 19, **changes: object) -> BundleContents:
    """Return the known bundle with the sketch of `drawn(1)`."""
    weights = sketched(drawn(1), num_innocents=num_innocents)
    bundle = known_bundle(weights=weights.record, **changes)
    return replace(bundle, weights=weights)


def _model(role: str, kind: str, number: int, kinship: float) -> WeightsModel:
    return WeightsModel.model_validate(
        {
            "name": f"{role}-{number}",
            "role": role,
            "kind": kind,
            "lineage": f"{role}-{number}",
            "weights_sha256": hashlib.sha256(f"{role}-{number}".encode()).hexdigest(),
            "kinship": kinship,
        }
    )
