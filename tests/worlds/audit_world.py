"""A bundle whose every answer is known, and a suspect that gives them.

Each image holds its own question in its first two bytes, so that a suspect is a table. Derived
models answer class 0 to every query, innocents class 1; P and Q say the same with probability 0.7.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Capability, Predictions, SuspectIdentity
from audit.bundle.bundle_file import UNSEALED
from audit.bundle.manifest import (
    Arrays,
    BundleContents,
    Manifest,
    ModelRecord,
    Preprocessing,
    ProbeSettings,
    SourceRecord,
    Task,
)
from audit.bundle.probes import make_probes, probe_digest

NUM_QUERIES, NUM_CONTROLS, NUM_TRIGGERS, NUM_PROBES, K = 40, 10, 30, 4, 3
NUM_MODELS = 9
"""Calibration models of each role: the fewest that alpha = beta = 0.1 needs."""
CONTROL, QUERY, TRIGGER = 1, 2, 3
SEED = bytes(32)


def tagged(kind: int, num: int) -> NDArray[np.uint8]:
    """Images 4x4x3 that hold (kind, index) in their first two values."""
    images = np.full((num, 4, 4, 3), 128, dtype=np.uint8)
    images[:, 0, 0, 0] = kind
    images[:, 0, 0, 1] = np.arange(num)
    return images


def known_bundle(**changes: object) -> BundleContents:
    """The bundle; ``changes`` replace manifest fields."""
    triggers = tagged(TRIGGER, NUM_TRIGGERS)
    probes = [
        make_probes(
            i, x, np.empty((0, 4, 4, 3), np.uint8), 65536, kind="noise", num_probes=4, seed=SEED
        )
        for i, x in enumerate(triggers)
    ]
    digest = hashlib.sha256(b"").hexdigest()
    models = tuple(
        ModelRecord(
            name=f"{role}-{number}",
            role=role,
            use="calibration",
            stratum="even" if number % 2 == 0 else "odd",
            provenance="made up",
            weights_sha256=hashlib.sha256(f"{role}-{number}".encode()).hexdigest(),
            control_accuracy=1.0,
        )
        for role in ("innocent", "derived")
        for number in range(NUM_MODELS)
    )
    innocent = np.array([True] * NUM_MODELS + [False] * NUM_MODELS)
    p, q = np.full((NUM_QUERIES, K), 0.15), np.full((NUM_QUERIES, K), 0.15)
    p[:, 0], q[:, 1] = 0.7, 0.7
    # The source puts 0.8 on each trigger's class 0; derived models too, innocents 0.2.
    source = np.log(np.tile([0.8, 0.1, 0.1], (NUM_TRIGGERS, 1)))
    losses = np.where(innocent[:, None], -np.log(0.2), -np.log(0.8)) * np.ones(NUM_TRIGGERS)
    # Two networks never have the very same losses.
    losses *= 1 + 1e-9 * np.arange(len(models))[:, None]
    arrays = Arrays(
        triggers=triggers,
        carriers=triggers,
        trigger_labels=np.zeros(NUM_TRIGGERS, dtype=np.int64),
        source_trigger_log_probabilities=source,
        probe_alphas=np.full(NUM_TRIGGERS, 65536),
        probe_ends=np.empty((NUM_TRIGGERS, 0, 4, 4, 3), dtype=np.uint8),
        source_probe_labels=np.tile([0, 0, 1, 1], (NUM_TRIGGERS, 1)),
        queries=tagged(QUERY, NUM_QUERIES),
        source_query_labels=np.zeros(NUM_QUERIES, dtype=np.int64),
        query_groups=np.arange(NUM_QUERIES),
        query_carriers=triggers[:0],
        source_query_log_probabilities=np.empty((0, K)),
        derived_probabilities=p,
        innocent_probabilities=q,
        selection_rankings=np.empty((0, NUM_QUERIES, 0), np.int64),
        controls=tagged(CONTROL, NUM_CONTROLS),
        control_labels=np.arange(NUM_CONTROLS) % K,
        model_control_labels=np.tile(np.arange(NUM_CONTROLS) % K, (2 * NUM_MODELS, 1)),
        model_query_labels=np.where(innocent[:, None], 1, 0) * np.ones(NUM_QUERIES, np.int64),
        model_query_log_probabilities=np.empty((2 * NUM_MODELS, 0, K)),
        model_rankings=np.empty((2 * NUM_MODELS, NUM_QUERIES, 0), np.int64),
        model_trigger_losses=losses,
        model_probe_hits=np.where(innocent[:, None], 0, 2) * np.ones(NUM_TRIGGERS, np.int64),
    )
    manifest = Manifest(
        model_name="known",
        owner="tests",
        created="2026-01-01T00:00:00Z",
        task=Task(height=4, width=4, channels=3, class_names=("a", "b", "c")),
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
        probes=ProbeSettings(
            kind="noise",
            num_probes=NUM_PROBES,
            seed=SEED.hex(),
            digests=tuple(probe_digest(each) for each in probes),
        ),
        models=models,
        libraries={},
        arrays={},
        arrays_file_sha256=UNSEALED,
    ).model_copy(update=changes)
    return BundleContents(
        manifest=manifest, arrays=arrays, manifest_sha256=digest, signer_key_id=digest
    )


class KnownSuspect:
    """Answers controls rightly and every other image with ``answer(kind, index)``."""

    def __init__(
        self,
        answer: Callable[[int, int], int],
        *,
        batch_size: int = 1,
        concurrency: int = 1,
        probability: float | None = None,
    ) -> None:
        self.batch_size, self.concurrency = batch_size, concurrency
        self.asked: list[tuple[int, int]] = []
        self._answer, self._probability = answer, probability

    @property
    def capability(self) -> Capability:
        return Capability.LABELS if self._probability is None else Capability.PROBABILITIES

    @property
    def identity(self) -> SuspectIdentity:
        return SuspectIdentity(kind="test", name="known", digest="0" * 64)

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        tags = [(int(image[0, 0, 0]), int(image[0, 0, 1])) for image in images]
        self.asked += tags
        labels = np.array(
            [index % K if kind == CONTROL else self._answer(kind, index) for kind, index in tags],
            dtype=np.int64,
        )
        rows = None
        if self._probability is not None:
            rest = (1 - self._probability) / (K - 1)
            rows = np.log(np.where(np.eye(K, dtype=bool)[labels], self._probability, rest))
        return Predictions(labels=labels, log_probabilities=rows)

    def close(self) -> None:
        pass
