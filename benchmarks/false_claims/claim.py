"""A bundle put together by whoever wants to claim something: honest, or not.

`assemble` asks models what a bundle holds of them; `signed_bytes` signs whatever it is given, as a
dishonest owner's own program would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.bundle.bundle_file import UNSEALED
from audit.bundle.consistency import ARRAY_NAMES
from audit.bundle.manifest import (
    Arrays,
    Manifest,
    ModelRecord,
    Preprocessing,
    SourceRecord,
    Task,
)
from audit.bundle.tensors import save_tensors
from audit.bundle.zip_layout import ARRAYS, MANIFEST, SIGNATURE, pack
from audit.signing.canonical import canonical_bytes, sha256_hex
from audit.signing.envelope import BUNDLE_PREDICATE_TYPE, sign_statement
from audit.signing.keys import PrivateKey
from generator.images.labelled import ImageSet
from generator.sources.source import weights_digest
from generator.sources.torch_suspect import predict_logits

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
"""Of all networks here."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A manifest and its tensors, not signed."""

    manifest: Manifest
    arrays: Arrays


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who takes part in a bundle."""

    source: nn.Module
    copies: Sequence[nn.Module]
    """Made from the source; shape P."""
    judged_copies: Sequence[nn.Module]
    """Made from the source; calibrate."""
    innocents: Sequence[nn.Module]
    """Shape Q."""
    judged_innocents: Sequence[nn.Module]
    """Calibrate."""


def mean_softmax(models: Sequence[nn.Module], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean softmax of several models, ``[N, K]``."""
    total = np.mean([_softmax(predict_logits(model, images)) for model in models], axis=0)
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def labels_of(models: Sequence[nn.Module], images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the classes that models give images, ``[M, N]``."""
    return np.array([predict_logits(model, images).argmax(axis=1) for model in models])


def assemble(
    cast: Cast,
    queries: NDArray[np.uint8],
    controls: ImageSet,
    *,
    alpha: float = 0.1,
    beta: float = 0.1,
    told: NDArray[np.int64] | None = None,
    **changes: Any,
) -> Claim:
    """Ask everybody and put the answers together.

    Args:
        cast: Who takes part.
        queries: ``[Q, H, W, C]``.
        controls: Labelled images.
        alpha: What is claimed.
        beta: Likewise.
        told: Classes that the calibrating innocents are said to give the queries, ``[m, Q]``; what
            they give if left out.
        changes: Other fields of the manifest.
    """
    judged = [*cast.judged_innocents, *cast.judged_copies]
    num_classes = len(controls.class_names)
    control_labels = labels_of(judged, controls.images)
    query_labels = labels_of(judged, queries)
    if told is not None:
        query_labels[: len(told)] = told
    right = (control_labels == controls.labels).mean(axis=1)
    records = [
        *_records("selection", "innocent", cast.innocents, controls),
        *_records("selection", "derived", cast.copies, controls),
        *_records("calibration", "innocent", cast.judged_innocents, controls, right),
        *_records(
            "calibration",
            "derived",
            cast.judged_copies,
            controls,
            right[len(cast.judged_innocents) :],
        ),
    ]
    nothing = queries[:0]
    arrays = Arrays(
        triggers=nothing,
        carriers=nothing,
        trigger_labels=np.empty(0, np.int64),
        source_trigger_log_probabilities=np.empty((0, num_classes)),
        probe_alphas=np.empty(0, np.int64),
        probe_ends=nothing[:, None][:, :0],
        source_probe_labels=np.empty((0, 0), np.int64),
        queries=queries,
        source_query_labels=labels_of([cast.source], queries)[0],
        query_groups=np.arange(len(queries)),
        query_carriers=nothing,
        source_query_log_probabilities=np.empty((0, num_classes)),
        derived_probabilities=mean_softmax(cast.copies, queries),
        innocent_probabilities=mean_softmax(cast.innocents, queries),
        selection_rankings=np.empty(
            (len(cast.innocents) + len(cast.copies), len(queries), 0), np.int64
        ),
        controls=controls.images,
        control_labels=controls.labels,
        model_control_labels=control_labels,
        model_query_labels=query_labels,
        model_query_log_probabilities=np.empty((len(judged), 0, num_classes)),
        model_rankings=np.empty((len(judged), len(queries), 0), np.int64),
        model_trigger_losses=np.empty((len(judged), 0)),
        model_probe_hits=np.empty((len(judged), 0), np.int64),
    )
    height, width = controls.images.shape[1:3]
    manifest = Manifest(
        model_name="claimed",
        owner="benchmark",
        created="2026-01-01T00:00:00Z",
        task=Task(height=height, width=width, channels=3, class_names=controls.class_names),
        preprocessing=Preprocessing(mean=MEAN, std=STD),
        source=SourceRecord(
            weights_sha256=weights_digest(cast.source),
            architecture="benchmark",
            num_parameters=sum(one.numel() for one in cast.source.parameters()),
            control_accuracy=float(
                (labels_of([cast.source], controls.images)[0] == controls.labels).mean()
            ),
        ),
        method="made up",
        crafting={},
        default_score="likelihood-ratio",
        epsilon=0.05,
        tau=0.5,
        alpha=alpha,
        beta=beta,
        min_control_agreement=0.6,
        probes=None,
        models=tuple(records),
        libraries={},
        arrays={},
        arrays_file_sha256=UNSEALED,
    )
    # Not validated: whoever forges writes what he likes.
    return Claim(manifest=manifest.model_copy(update=changes), arrays=arrays)


def signed_bytes(claim: Claim, key: PrivateKey) -> bytes:
    """Return the bundle file of a claim; nothing is checked."""
    members: dict[str, bytes] = {}
    tensors = {name: getattr(claim.arrays, name) for name in ARRAY_NAMES}
    members[ARRAYS], digests = save_tensors(tensors)
    sealed = claim.manifest.model_copy(
        update={"arrays": digests, "arrays_file_sha256": sha256_hex(members[ARRAYS])}
    )
    members[MANIFEST] = canonical_bytes(sealed.model_dump(mode="json"))
    digest = sha256_hex(members[MANIFEST])
    members[SIGNATURE] = sign_statement(MANIFEST, digest, BUNDLE_PREDICATE_TYPE, {}, key)
    return b"".join(pack(members))


def write_claim(path: Path, claim: Claim, key: PrivateKey) -> Path:
    """Write the bundle file of a claim; nothing is checked."""
    path.write_bytes(signed_bytes(claim, key))
    return path


def _records(
    use: Literal["selection", "calibration"],
    role: Literal["innocent", "derived"],
    models: Sequence[nn.Module],
    controls: ImageSet,
    right: NDArray[np.float64] | None = None,
) -> list[ModelRecord]:
    if right is None:
        right = (labels_of(models, controls.images) == controls.labels).mean(axis=1)
    return [
        ModelRecord(
            name=f"{use}-{role}-{number}",
            role=role,
            use=use,
            stratum="given",
            provenance="benchmark",
            weights_sha256=sha256_hex(f"{use} {role} {number} {weights_digest(model)}".encode()),
            control_accuracy=float(right[number]),
        )
        for number, model in enumerate(models)
    ]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
