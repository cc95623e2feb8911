"""What a trigger bundle says: a frozen value type that knows no key and no file.

`Manifest` is the JSON part, `Arrays` the tensors; `audit.bundle.bundle_file` writes and reads both,
`audit.signing.envelope` signs. Everything that changes a verdict is in one of the two.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from adapters.preprocessing import ColorOrder, Resampling
from adapters.strict_model import FrozenModel
from adapters.suspect import REFUSED
from adapters.weights.similarities import Similarities
from audit.bundle.bounds import MAX_TAU, MIN_AGREEMENT, MIN_TAU, Epsilon
from audit.bundle.line_up import LineUp, LineUpRecord
from audit.bundle.retraining import Retraining
from audit.bundle.weights import Weights, WeightsRecord
from audit.signing.times import BundleTime

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
ScoreName = Literal[
    "likelihood-ratio",
    "matching-rate",
    "trajectory-rate",
    "sample-correlation",
    "rank-correlation",
    "mfue-w",
    "mfue-b",
    "line-up",
]
Scalar = str | int | float | bool
MAX_RATE = 0.2
"""Largest alpha and beta: what is wrong more often accuses nobody and clears nobody."""


class Task(FrozenModel):
    """What the source classifies."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    channels: Literal[1, 3]
    class_names: Annotated[tuple[str, ...], Field(min_length=2, strict=False)]
    """Class names by index; K is their number."""

    @property
    def num_classes(self) -> int:
        """Return K."""
        return len(self.class_names)


class GeometryRecord(FrozenModel):
    """How pictures of any size became the bundle's images: `adapters.geometry.Geometry`."""

    resize: int | Annotated[tuple[int, int], Field(strict=False)] | None
    """Shorter side in pixels, or height and width; None left the size."""
    resampling: Resampling
    antialias: bool
    crop: Annotated[tuple[int, int], Field(strict=False)] | None
    """Height and width of the centre crop."""
    crop_start: Literal["rounded", "floored"]


class Preprocessing(FrozenModel):
    """How the source turns a pixel into its input: ``(pixel / 255 - mean) / std``.

    The images of a bundle have the source's input size already: an adapter applies mean, std and
    colour order, never the geometry.
    """

    mean: Annotated[tuple[float, ...], Field(strict=False)]
    """Per channel in RGB order, in [0, 1] pixel units."""
    std: Annotated[tuple[float, ...], Field(strict=False)]
    """Per channel in RGB order, in [0, 1] pixel units."""
    color_order: ColorOrder = "RGB"
    """Order of the source's three channels; the bundle's images are RGB."""
    geometry: GeometryRecord | None = None
    """How the owner's files became images of the task's size; None: they had it."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Bundles from before these fields were there have the same bytes as ever.
        fields: dict[str, Any] = serialise(self)
        if self.color_order == "RGB":
            fields.pop("color_order", None)
        if self.geometry is None:
            fields.pop("geometry", None)
        return fields


class SourceRecord(FrozenModel):
    """The model that the bundle speaks for."""

    weights_sha256: Sha256
    architecture: str
    """Factory or file that built it."""
    num_parameters: Annotated[int, Field(ge=1)]
    control_accuracy: Fraction
    """Share of the control images that it gets right."""


class ProbeSettings(FrozenModel):
    """How the label-only probes of the triggers are regenerated (docs/bundle-format.md)."""

    kind: Literal["ascent", "noise"]
    num_probes: Annotated[int, Field(ge=1)]
    """Probes per trigger, M."""
    seed: Sha256
    """32 bytes in hex that seed the generator."""
    digests: Annotated[tuple[Sha256, ...], Field(strict=False)]
    """SHA-256 of the M probes of each trigger, by trigger."""


class ModelRecord(FrozenModel):
    """A model that took part in crafting or calibration."""

    name: str
    role: Literal["innocent", "derived"]
    use: Literal["selection", "calibration"]
    """``selection``: shaped the queries. ``calibration``: only sets thresholds and p-values."""
    stratum: str
    """Kind of innocent (same data, other data, ...) or of derivation (pruned, fine-tuned, ...)."""
    lineage: Annotated[str, Field(min_length=1)] | None = None
    """Network that it and its like were made from: innocents of one lineage count as one. None: a
    network of its own."""
    provenance: str
    """Where it comes from, in words."""
    weights_sha256: Sha256
    control_accuracy: Fraction


class Steps(FrozenModel):
    """A verdict in two steps: crafted queries first, then the line-up (ADR 20)."""

    crafted_alpha: Annotated[float, Field(gt=0, le=MAX_RATE)]
    """Level of the first step: share of innocents that it may call derived."""
    line_up_alpha: Annotated[float, Field(gt=0, le=MAX_RATE)]
    """Level of the second step."""

    @property
    def alpha(self) -> float:
        """Return the level of the verdict: an innocent may be accused by either step."""
        # A record repeats this number, and 0.1 + 0.2 is 0.30000000000000004.
        return round(self.crafted_alpha + self.line_up_alpha, 12)


class Manifest(FrozenModel):
    """Everything about a bundle but its tensors."""

    format: Literal["kinprint-bundle"] = "kinprint-bundle"
    format_version: Literal[2] = 2
    model_name: str
    owner: str
    created: BundleTime
    task: Task
    preprocessing: Preprocessing
    source: SourceRecord
    method: str
    crafting: dict[str, Scalar]
    """Settings and seed of the crafting run."""
    default_score: ScoreName
    """The score whose verdict counts."""
    score_version: Literal[1] = 1
    epsilon: Epsilon
    """Added to both probabilities of the likelihood ratio."""
    tau: Annotated[float, Field(ge=MIN_TAU, le=MAX_TAU)]
    """Half-width of MFUE's relative loss interval (Eq. 5)."""
    alpha: Annotated[float, Field(gt=0, le=MAX_RATE)]
    """False-positive rate of a verdict by one score."""
    beta: Annotated[float, Field(gt=0, le=MAX_RATE)]
    """Miss rate that the thresholds are set for."""
    min_control_agreement: Annotated[float, Field(ge=MIN_AGREEMENT, le=1)]
    """Share of the source's control accuracy that a comparable suspect must reach."""
    probes: ProbeSettings | None
    models: Annotated[tuple[ModelRecord, ...], Field(strict=False)]
    """Selection models first, then calibration models in the order of the ``model_*`` arrays."""
    libraries: dict[str, str]
    line_up: Annotated[LineUpRecord | None, Field(exclude_if=lambda one: one is None)] = None
    """The source among its siblings. Written only where there is one, so that bundles without a
    line-up are what they were."""
    steps: Annotated[Steps | None, Field(exclude_if=lambda one: one is None)] = None
    """How two steps share a verdict's false-positive rate; None: one score decides."""
    retraining: Annotated[Retraining | None, Field(exclude_if=lambda one: one is None)] = None
    """How innocents can be trained again; None: that they are what they are said to be is the
    owner's word."""
    weights: Annotated[WeightsRecord | None, Field(exclude_if=lambda one: one is None)] = None
    """The sketch of the source's weights, by which files are judged, too. Written only where there
    is one."""
    arrays: dict[str, Sha256]
    """SHA-256 of each array's raw bytes (little endian, C order), by name."""
    arrays_file_sha256: Sha256
    """SHA-256 of ``arrays.safetensors``."""

    @property
    def verdict_alpha(self) -> float:
        """Return the false-positive rate of a verdict for which nobody chose a score."""
        return self.alpha if self.steps is None else self.steps.alpha

    @property
    def calibration_models(self) -> tuple[ModelRecord, ...]:
        """Return the R models whose answers are in the ``model_*`` arrays."""
        return tuple(model for model in self.models if model.use == "calibration")

    @property
    def selection_models(self) -> tuple[ModelRecord, ...]:
        """Return the S models whose rankings are in ``selection_rankings``."""
        return tuple(model for model in self.models if model.use == "selection")


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The tensors of a bundle; N triggers, Q queries, C controls, R calibration models, K classes.

    Images are uint8 ``[_, H, W, channels]``, counts and labels int64, the rest float64. What a
    method does not have is empty: its first size is 0, or for ``model_*`` the second.
    """

    triggers: NDArray[np.uint8]
    """``[N, H, W, C]``"""
    carriers: NDArray[np.uint8]
    """The clean image of each trigger, ``[N, H, W, C]``."""
    trigger_labels: NDArray[np.int64]
    """True class of each trigger, ``[N]``."""
    source_trigger_log_probabilities: NDArray[np.float64]
    """The source's answer to each trigger, ``[N, K]``."""
    probe_alphas: NDArray[np.int64]
    """Weight of the trigger in its probes, in 1/65536, ``[N]``; empty without probes."""
    probe_ends: NDArray[np.uint8]
    """Ends of the ascent probes, ``[N, E, H, W, C]``; ``[N, 0, H, W, C]`` for noise probes."""
    source_probe_labels: NDArray[np.int64]
    """The source's class of each probe, ``[N, M]``."""
    queries: NDArray[np.uint8]
    """The fingerprint's images in the order of asking, ``[Q, H, W, C]``."""
    source_query_labels: NDArray[np.int64]
    """The source's class of each query, ``[Q]``."""
    query_groups: NDArray[np.int64]
    """Queries that count together, such as one trajectory, by number from 0 on, ``[Q]``."""
    query_carriers: NDArray[np.uint8]
    """The clean image or starting point of each query, ``[Q, H, W, C]``; may be empty."""
    source_query_log_probabilities: NDArray[np.float64]
    """The source's answer to each query, ``[Q, K]``; empty but for the sample correlation."""
    derived_probabilities: NDArray[np.float64]
    """P: mean softmax of the derived selection models, ``[Q, K]``; empty without the likelihood
    ratio."""
    innocent_probabilities: NDArray[np.float64]
    """Q: mean softmax of the innocent selection models, ``[Q, K]``; empty likewise."""
    selection_rankings: NDArray[np.int64]
    """Likeliest D classes of each query by each of the S selection models, likeliest first,
    ``[S, Q, D]``; D is 0 where there are no rankings."""
    controls: NDArray[np.uint8]
    """``[C, H, W, channels]``"""
    control_labels: NDArray[np.int64]
    """True class of each control image, ``[C]``."""
    model_control_labels: NDArray[np.int64]
    """Class that each calibration model gives each control image, ``[R, C]``."""
    model_query_labels: NDArray[np.int64]
    """Class that each calibration model gives each query, ``[R, Q]``."""
    model_query_log_probabilities: NDArray[np.float64]
    """What each calibration model answers to each query, ``[R, Q, K]``; ``[R, 0, K]`` where
    ``source_query_log_probabilities`` is empty."""
    model_rankings: NDArray[np.int64]
    """Likeliest D classes of each query by each calibration model, ``[R, Q, D]``."""
    model_trigger_losses: NDArray[np.float64]
    """``-log p_y`` of each calibration model on each trigger, ``[R, N]``."""
    model_probe_hits: NDArray[np.int64]
    """Number of the M probes that each calibration model gives the trigger's class, ``[R, N]``."""


@dataclass(frozen=True, kw_only=True)
class BundleContents:
    """A manifest and its tensors, checked to belong together."""

    manifest: Manifest
    arrays: Arrays
    manifest_sha256: str
    """SHA-256 of the manifest's canonical bytes: the bundle's identity."""
    signer_key_id: str
    """Key id of the signature that was checked."""
    line_up: LineUp | None = None
    """The line-up with its numbers; None in a bundle without one."""
    weights: Weights | None = None
    """The sketch of the source's weights with its numbers; None in a bundle without one."""
    start: int = 0
    """Index of the query that is asked first (`audit.bundle.query_order`)."""
    similarities: Similarities | None = None
    """What an audit's file came to by the sketch; None where nothing was compared."""
    left_out_controls: tuple[int, ...] = ()
    """Indices of control images that are not asked, as the suspect lacks their class."""
    left_out_queries: tuple[int, ...] = ()
    """Indices of queries that are not asked, as they rest on a class that the suspect lacks."""

    @property
    def lacks_classes(self) -> bool:
        """Whether it is as if nobody had some of the classes (`audit.scores.absent_classes`)."""
        return bool(self.left_out_controls or self.left_out_queries)


def min_control_accuracy(bundle: BundleContents) -> float:
    """Return the accuracy on the control images below which a suspect cannot be compared."""
    return bundle.manifest.min_control_agreement * bundle.manifest.source.control_accuracy


def innocents(bundle: BundleContents) -> NDArray[np.bool_]:
    """Return which calibration models are innocent, ``[R]``."""
    models = bundle.manifest.calibration_models
    return np.array([model.role == "innocent" for model in models], dtype=bool)


def class_name(bundle: BundleContents, label: int) -> str:
    """Return a class in words."""
    return "no answer" if label == REFUSED else bundle.manifest.task.class_names[label]
