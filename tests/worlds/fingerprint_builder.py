"""Bundles of the literature's kind: no triggers, queries with groups and carriers, one score."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.bundle.bundle_file import parse_bundle, write_bundle
from audit.bundle.line_up import (
    LineUp,
    LineUpArrays,
    LineUpMember,
    LineUpModel,
    LineUpRecord,
    encode,
)
from audit.bundle.manifest import BundleContents
from audit.signing.keys import Trust
from worlds.bundle_builder import CHANNELS, OWNER_KEY, SIDE
from worlds.record_builder import NUM_QUERIES, audited_contents

SCORES = ("matching-rate", "trajectory-rate", "sample-correlation")
GROUP_SIZE = 3
OWN, OTHER = 0.4754, 0.1749
"""Probability of a model's own class and of each other one, before they are made to sum to 1:
softmax of logits 1, 0, 0, 0, which is what the files of `ui_desk` tell."""


def fingerprint_bundle(path: Path, score: str, **changes: Any) -> BundleContents:
    """Write a bundle that decides by a score, signed by the owner, and read it back.

    21 innocents answer at random, 20 derived models like the source but for a fifth.
    """
    base = audited_contents()
    arrays, manifest = base.arrays, base.manifest
    is_innocent = [model.role == "innocent" for model in manifest.calibration_models]
    labels = np.where(
        np.array(is_innocent)[:, None], _noise(len(is_innocent)), arrays.model_query_labels
    )
    source = arrays.source_query_labels
    has_probabilities = score == "sample-correlation"
    nothing = np.empty((0, SIDE, SIDE, CHANNELS), np.uint8)
    fields: dict[str, Any] = {
        "triggers": nothing,
        "carriers": nothing,
        "trigger_labels": np.empty(0, np.int64),
        "source_trigger_log_probabilities": np.empty((0, 4)),
        "probe_alphas": np.empty(0, np.int64),
        "probe_ends": nothing[:, None][:, :0],
        "source_probe_labels": np.empty((0, 0), np.int64),
        "model_trigger_losses": np.empty((len(labels), 0)),
        "model_probe_hits": np.empty((len(labels), 0), np.int64),
        "derived_probabilities": np.empty((0, 4)),
        "innocent_probabilities": np.empty((0, 4)),
        "selection_rankings": arrays.selection_rankings[..., :0],
        "model_rankings": arrays.model_rankings[..., :0],
        "query_carriers": arrays.queries ^ np.uint8(8),
        "model_query_labels": labels,
    }
    if score == "trajectory-rate":
        # members of a trajectory stand far apart in the order of asking
        fields["query_groups"] = np.arange(NUM_QUERIES) % (NUM_QUERIES // GROUP_SIZE)
    if has_probabilities:
        fields["source_query_log_probabilities"] = soft(source)
        fields["model_query_log_probabilities"] = soft(labels)
    write_bundle(
        path,
        manifest.model_copy(
            update={
                "method": "made up",
                "default_score": score,
                "crafting": {},
                "probes": None,
                **changes,
            }
        ),
        dataclasses.replace(arrays, **fields),
        OWNER_KEY,
    )
    return parse_bundle(path.read_bytes(), Trust(keys=(OWNER_KEY.public_key,)))


def soft(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log-probabilities whose largest class is the label, ``[...]`` to ``[..., 4]``."""
    rows = np.where(labels[..., None] == np.arange(4), OWN, OTHER)
    return np.asarray(np.log(rows / rows.sum(axis=-1, keepdims=True)))


def random_rule(kind: str, index: int, label: int) -> int:
    """Be right on controls, and answer queries by nobody's model."""
    return label if kind == "control" else int(_noise(1, "unknown")[0, index])


def _noise(num: int, name: str = "innocents") -> NDArray[np.int64]:
    given = hashlib.shake_128(name.encode()).digest(num * NUM_QUERIES)
    return np.frombuffer(given, np.uint8).reshape(num, NUM_QUERIES).astype(np.int64) % 4


def line_up_bundle(path: Path, **changes: Any) -> BundleContents:
    """Write a bundle whose line-up decides, asked with the images that `ui_desk`'s files know.

    The source answers like itself, 19 siblings and 20 innocents each at random.
    """
    base = audited_contents()
    labels = np.concatenate([base.arrays.source_query_labels[None], _noise(39, "line-up")])
    controls = np.tile(base.arrays.control_labels, (39 + 1, 1))
    controls[np.arange(20), np.arange(20) % 4] += np.arange(20) % 2  # one in two errs once
    codes = encode(soft(labels))
    record = LineUpRecord(
        made_by="command",
        made_how="python train.py --seed {seed} --out {weights}",
        seed_commitment="cd" * 32,
        source=0,
        members=tuple(
            LineUpMember(name=f"member-{i}", weights_sha256=_digest(f"m{i}"), seed=i)
            for i in range(20)
        ),
        models=tuple(
            LineUpModel(
                name=f"stranger-{i}",
                role="innocent",
                kind="stranger",
                lineage=f"stranger-{i}",
                provenance="made up",
                weights_sha256=_digest(f"s{i}"),
            )
            for i in range(20)
        ),
        form="ranks",
        epsilon=0.02,
        lead_bound=6.0,
        arrays={},
        arrays_file_sha256="0" * 64,
    )
    line_up = LineUp(
        record=record,
        arrays=LineUpArrays(
            questions=base.arrays.queries,
            member_codes=codes[:20],
            member_control_codes=encode(soft(controls[:20] % 4)),
            model_labels=labels[20:],
            model_codes=codes[20:],
        ),
    )
    manifest = base.manifest.model_copy(
        update={"default_score": "line-up", "alpha": 0.05, "beta": 0.1, **changes}
    )
    write_bundle(path, manifest, base.arrays, OWNER_KEY, line_up)
    return parse_bundle(path.read_bytes(), Trust(keys=(OWNER_KEY.public_key,)))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
