"""A bundle of any size whose every right answer is class 0, to measure an audit's speed with."""

import hashlib

import numpy as np

from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import (
    Arrays,
    BundleContents,
    Manifest,
    ModelRecord,
    Preprocessing,
    SourceRecord,
    Task,
)

NUM_CONTROLS, NUM_MODELS, K, SIDE = 50, 9, 10, 32


def plain_bundle(num_questions: int) -> BundleContents:
    """Return a bundle of noise images.

    Args:
        num_questions: Control images and queries together.
    """
    num_queries = num_questions - NUM_CONTROLS
    rng = np.random.default_rng(0)
    digest = hashlib.sha256(b"").hexdigest()
    models = tuple(
        ModelRecord(
            name=f"{role}-{number}",
            role=role,
            use="calibration",
            stratum="made up",
            provenance="made up",
            weights_sha256=digest,
            control_accuracy=1.0,
        )
        for role in ("innocent", "derived")
        for number in range(NUM_MODELS)
    )
    p, q = np.full((num_queries, K), 0.05), np.full((num_queries, K), 0.05)
    p[:, 0], q[:, 1] = 0.55, 0.55
    empty = np.empty((0, SIDE, SIDE, 3), np.uint8)
    is_innocent = np.array([True] * NUM_MODELS + [False] * NUM_MODELS)[:, None]
    arrays = Arrays(
        triggers=empty,
        carriers=empty,
        trigger_labels=np.empty(0, np.int64),
        source_trigger_log_probabilities=np.empty((0, K)),
        probe_alphas=np.empty(0, np.int64),
        probe_ends=np.empty((0, 0, SIDE, SIDE, 3), np.uint8),
        source_probe_labels=np.empty((0, 0), np.int64),
        queries=rng.integers(0, 256, (num_queries, SIDE, SIDE, 3), dtype=np.uint8),
        source_query_labels=np.zeros(num_queries, np.int64),
        query_groups=np.arange(num_queries),
        query_carriers=empty,
        source_query_log_probabilities=np.empty((0, K)),
        derived_probabilities=p,
        innocent_probabilities=q,
        selection_rankings=np.empty((0, num_queries, 0), np.int64),
        controls=rng.integers(0, 256, (NUM_CONTROLS, SIDE, SIDE, 3), dtype=np.uint8),
        control_labels=np.zeros(NUM_CONTROLS, np.int64),
        model_control_labels=np.zeros((2 * NUM_MODELS, NUM_CONTROLS), np.int64),
        model_query_labels=np.where(is_innocent, 1, 0) * np.ones(num_queries, np.int64),
        model_query_log_probabilities=np.empty((2 * NUM_MODELS, 0, K)),
        model_rankings=np.empty((2 * NUM_MODELS, num_queries, 0), np.int64),
        model_trigger_losses=np.empty((2 * NUM_MODELS, 0)),
        model_probe_hits=np.empty((2 * NUM_MODELS, 0), np.int64),
    )
    manifest = Manifest(
        model_name="plain",
        owner="benchmarks",
        created="2026-01-01T00:00:00Z",
        task=Task(height=SIDE, width=SIDE, channels=3, class_names=tuple(map(str, range(K)))),
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3),
        source=SourceRecord(
            weights_sha256=digest, architecture="none", num_parameters=1, control_accuracy=1.0
        ),
        method="mfue",
        crafting={},
        default_score="likelihood-ratio",
        epsilon=0.05,
        tau=0.5,
        alpha=0.1,
        beta=0.1,
        min_control_agreement=0.6,
        probes=None,
        models=models,
        libraries={},
        arrays={},
        arrays_file_sha256=UNSEALED,
    )
    return BundleContents(
        manifest=manifest, arrays=arrays, manifest_sha256=digest, signer_key_id=digest
    )
