"""A small valid bundle, the same bytes on every machine, and the golden files made from it.

``python -m worlds.bundle_builder``, in tests, writes data/small.kinprint and data/small.pub anew.
Pixels come from SHAKE-128, probabilities are powers of two: no random generator, no libm.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audit.bundle.bundle_file import UNSEALED, parse_bundle, write_bundle
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
from audit.bundle.zip_layout import pack, unpack
from audit.signing.canonical import canonical_bytes, sha256_hex
from audit.signing.envelope import BUNDLE_PREDICATE_TYPE, sign_statement
from audit.signing.keys import PrivateKey, Trust

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "small.kinprint"
GOLDEN_PUBLIC_KEY = DATA / "small.pub"
MEMBERS = ("manifest.json", "arrays.safetensors", "signature.json")

# RFC 8032, section 7.1, test 1: a published secret, worth nothing
OWNER_KEY = PrivateKey.from_seed(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
# RFC 8032, section 7.1, test 2
STRANGER_KEY = PrivateKey.from_seed(
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)
OWNER_TRUST = Trust(keys=(OWNER_KEY.public_key,))

CLASS_NAMES = ("cat", "dog", "frog", "ship")
SIDE = 8
CHANNELS: Literal[3] = 3
NUM_TRIGGERS, NUM_QUERIES, NUM_CONTROLS, NUM_PROBES, NUM_ENDS = 3, 5, 4, 6, 2
ALPHAS = (20000, 40000, 65536)
SEED = bytes(range(32))
LN_2 = 0.6931471805599453
HALVINGS = np.array([[1, 2, 3, 3], [3, 1, 2, 3], [3, 3, 1, 2], [2, 3, 3, 1]])
"""Rows of exponents whose powers of 1/2 sum to 1; row k is largest at class k."""
RANKINGS = np.array([[0, 1, 2], [1, 2, 0], [2, 3, 0], [3, 0, 1]])
"""Rankings of four classes; row k begins with class k."""
MODEL_QUERY_LABELS = np.array([[0, 1, 2, 3, 0], [1, 2, 3, 0, 1], [1, 1, 3, 0, 2]])


def small_bundle(path: Path, key: PrivateKey = OWNER_KEY) -> Path:
    """Write the small bundle, signed with the key."""
    write_bundle(path, small_manifest(), small_arrays(), key)
    return path


def small_contents() -> BundleContents:
    """Return the small bundle as it is read."""
    return parse_bundle(GOLDEN.read_bytes(), OWNER_TRUST)


def golden_members() -> dict[str, bytes]:
    """Return the golden bundle's members by name."""
    return unpack(GOLDEN.read_bytes())


def packed(**changes: bytes) -> bytes:
    """Return the golden bundle with some members replaced, by the stem of their names."""
    members = golden_members()
    return b"".join(
        pack({name: changes.get(name.split(".")[0], members[name]) for name in MEMBERS})
    )


def resigned(manifest: dict[str, Any]) -> bytes:
    """Return the golden bundle with another manifest, signed by the owner."""
    data = canonical_bytes(manifest)
    envelope = sign_statement(
        "manifest.json", sha256_hex(data), BUNDLE_PREDICATE_TYPE, {}, OWNER_KEY
    )
    return packed(manifest=data, signature=envelope)


def golden_manifest(**changes: object) -> dict[str, Any]:
    """Return the golden manifest as parsed JSON, with some fields replaced."""
    return {**json.loads(golden_members()["manifest.json"]), **changes}


def small_arrays() -> Arrays:
    """Return its tensors: 3 triggers, 5 queries, 4 controls, 3 calibration models, 4 classes."""
    carriers = _pixels("carriers", NUM_TRIGGERS)
    trigger_labels = np.array([0, 1, 2])
    query_labels = np.array([0, 1, 2, 3, 0])
    return Arrays(
        triggers=carriers ^ np.uint8(4),
        carriers=carriers,
        trigger_labels=trigger_labels,
        source_trigger_log_probabilities=-LN_2 * HALVINGS[trigger_labels],
        probe_alphas=np.array(ALPHAS),
        probe_ends=_pixels("ends", NUM_TRIGGERS * NUM_ENDS).reshape(
            NUM_TRIGGERS, NUM_ENDS, SIDE, SIDE, CHANNELS
        ),
        source_probe_labels=np.arange(NUM_TRIGGERS * NUM_PROBES).reshape(NUM_TRIGGERS, -1) % 4,
        queries=_pixels("queries", NUM_QUERIES),
        source_query_labels=query_labels,
        query_groups=np.arange(NUM_QUERIES),
        query_carriers=np.empty((0, SIDE, SIDE, CHANNELS), np.uint8),
        source_query_log_probabilities=np.empty((0, 4)),
        derived_probabilities=0.5 ** HALVINGS[query_labels],
        innocent_probabilities=0.5 ** HALVINGS[(query_labels + 1) % 4],
        # a mimic that ranks classes as the source, an innocent that does not
        selection_rankings=np.array([RANKINGS[query_labels], RANKINGS[(query_labels + 1) % 4]]),
        controls=_pixels("controls", NUM_CONTROLS),
        control_labels=np.array([0, 1, 2, 3]),
        # one derived model that answers like the source, two innocents that do not
        # each gets three of four right
        model_control_labels=np.array([[0, 1, 2, 0], [0, 1, 0, 3], [1, 1, 2, 3]]),
        model_query_labels=MODEL_QUERY_LABELS,
        model_query_log_probabilities=np.empty((3, 0, 4)),
        model_rankings=RANKINGS[MODEL_QUERY_LABELS],
        model_trigger_losses=np.array([[0.25, 0.5, 0.125], [2.0, 3.0, 4.0], [1.5, 2.5, 0.0]]),
        model_probe_hits=np.array([[5, 4, 6], [0, 1, 2], [1, 0, 0]]),
    )


def small_manifest() -> Manifest:
    """Return its manifest, not sealed yet."""
    return Manifest(
        model_name="small-test-model",
        owner="The Kinprint tests",
        created="2026-01-02T03:04:05Z",
        task=Task(height=SIDE, width=SIDE, channels=CHANNELS, class_names=CLASS_NAMES),
        preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        source=SourceRecord(
            weights_sha256=_digest("source"),
            architecture="tests:none",
            num_parameters=12345,
            control_accuracy=0.75,
        ),
        method="mfue",
        crafting={"seed": 7, "radius": 0.03125, "stop_on_convergence": True, "target": "source"},
        default_score="likelihood-ratio",
        epsilon=0.05,
        tau=0.5,
        alpha=0.05,
        beta=0.05,
        min_control_agreement=0.5,
        probes=_probe_settings(),
        models=(
            _model("mimic-0", "derived", "selection", "snapshot"),
            _model("other-0", "innocent", "selection", "other data"),
            _model("pruned", "derived", "calibration", "pruned"),
            _model("other-1", "innocent", "calibration", "other data"),
            _model("sibling", "innocent", "calibration", "same data"),
        ),
        libraries={"kinprint": "0.1.0", "torch": "2.13.0"},
        arrays={},
        arrays_file_sha256=UNSEALED,
    )


def _probe_settings() -> ProbeSettings:
    arrays = small_arrays()
    digests = (
        probe_digest(
            make_probes(
                index,
                arrays.triggers[index],
                arrays.probe_ends[index],
                ALPHAS[index],
                kind="ascent",
                num_probes=NUM_PROBES,
                seed=SEED,
            )
        )
        for index in range(NUM_TRIGGERS)
    )
    return ProbeSettings(
        kind="ascent", num_probes=NUM_PROBES, seed=SEED.hex(), digests=tuple(digests)
    )


def _model(
    name: str,
    role: Literal["innocent", "derived"],
    use: Literal["selection", "calibration"],
    stratum: str,
) -> ModelRecord:
    return ModelRecord(
        name=name,
        role=role,
        use=use,
        stratum=stratum,
        provenance=f"made up for the tests ({name})",
        weights_sha256=_digest(name),
        control_accuracy=0.75,
    )


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _pixels(name: str, num_images: int) -> NDArray[np.uint8]:
    values = hashlib.shake_128(name.encode()).digest(num_images * SIDE * SIDE * CHANNELS)
    return np.frombuffer(values, np.uint8).reshape(num_images, SIDE, SIDE, CHANNELS)


if __name__ == "__main__":
    small_bundle(GOLDEN)
    GOLDEN_PUBLIC_KEY.write_bytes(OWNER_KEY.public_key.pem)
