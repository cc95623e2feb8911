"""The sketch of the source's weights in a bundle, and what other models' weights come to by it.

What is kept tells how similar another network's layers are and not what they are
(`adapters.weights.sketch`). Its numbers are a member of the bundle of their own
(docs/bundle-format.md, section 10); layers and calibration models stand in the manifest.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.strict_model import FrozenModel
from adapters.weights.layer import NO_LAYER
from adapters.weights.packed_sketch import LayerHead, PackedSketch, num_values
from adapters.weights.sketch import MAX_NUMBERS
from audit.errors import BundleError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=1, le=2**31 - 1)]
MAX_LAYERS = 512


class SketchedLayer(FrozenModel):
    """A layer of the source."""

    name: str
    """Of its weights in the owner's file; for people."""
    num_filters: Size
    num_inputs: Size
    """Input channels of one group."""
    num_positions: Size
    """Places of the kernel; 1 for a matrix."""
    num_groups: Size
    before: Annotated[int, Field(ge=NO_LAYER, lt=MAX_LAYERS)]
    """Place of the layer whose filters are the inputs; -1 if none."""
    num_numbers: Annotated[int, Field(ge=2, le=MAX_NUMBERS)]
    """Kept of each filter."""


class WeightsModel(FrozenModel):
    """A calibration model whose weights can be compared with the source's."""

    name: str
    role: Literal["innocent", "derived"]
    kind: str
    """Kind of innocent or of derivation."""
    lineage: Annotated[str, Field(min_length=1)]
    """The network that it is, or was made from: what is counted."""
    weights_sha256: Sha256
    kinship: Annotated[float, Field(ge=-1, le=1)]
    """Its score (`audit.scores.weight_kinship`)."""


class WeightsRecord(FrozenModel):
    """What the manifest says of the sketch."""

    seed: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Of the random signs, 64 bits in hex, the highest first."""
    layers: Annotated[
        tuple[SketchedLayer, ...], Field(min_length=1, max_length=MAX_LAYERS, strict=False)
    ]
    """In the order of computation."""
    has_ancestor: bool
    """Whether what was learnt since the source's ancestor is compared."""
    models: Annotated[tuple[WeightsModel, ...], Field(strict=False)]
    """Innocents, then derived models."""
    arrays: dict[str, Sha256]
    """SHA-256 of each array's raw bytes, by name."""
    arrays_file_sha256: Sha256
    """SHA-256 of ``weights.safetensors``."""


@dataclass(frozen=True, kw_only=True)
class WeightsArrays:
    """The tensors (`adapters.weights.packed_sketch`)."""

    numbers: NDArray[np.int8] | NDArray[np.float16]
    """All numbers of all layers, int8, or float16 with an ancestor, ``[S]``."""
    ancestral: NDArray[np.float16]
    """The same of the ancestor, ``[S]``, or ``[0]`` without one."""


WEIGHTS_ARRAY_NAMES = tuple(field.name for field in fields(WeightsArrays))
"""Names of the arrays in their order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """A sketch with its record, checked to belong together; compared by identity."""

    record: WeightsRecord
    arrays: WeightsArrays

    @property
    def sketch(self) -> PackedSketch:
        """Return what a suspect's weights are compared with."""
        return PackedSketch(
            seed=int(self.record.seed, 16),
            heads=heads_of(self.record),
            numbers=self.arrays.numbers,
            ancestral=self.arrays.ancestral,
        )


def heads_of(record: WeightsRecord) -> tuple[LayerHead, ...]:
    """Return the layers as a comparison takes them."""
    return tuple(LayerHead(**layer.model_dump(exclude={"name"})) for layer in record.layers)


def check_weights(record: WeightsRecord, arrays: WeightsArrays) -> None:
    """Pass if a record and its arrays can be the sketch of one bundle.

    Raises:
        BundleError: The first thing that does not fit, by field.
    """
    roles = [model.role for model in record.models]
    if roles != sorted(roles, reverse=True):  # "innocent" > "derived"
        raise BundleError("weights.models: expected the innocents before the derived models")
    for place, layer in enumerate(record.layers):
        if layer.before >= place:
            raise BundleError(
                f"weights.layers: {layer.name}: before: expected an earlier layer's place or -1, "
                f"got {layer.before}"
            )
    size = num_values(heads_of(record))
    expected = {
        "numbers": (np.float16 if record.has_ancestor else np.int8, size),
        "ancestral": (np.float16, size if record.has_ancestor else 0),
    }
    for name, (dtype, num) in expected.items():
        array: NDArray[np.generic] = getattr(arrays, name)
        if array.dtype != dtype or array.shape != (num,):
            raise BundleError(
                f"weights.{name}: expected {np.dtype(dtype)} [{num}], got {array.dtype} "
                f"{list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise BundleError(f"weights.{name}: expected finite numbers, got others")
