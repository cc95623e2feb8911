"""Probes: hand arithmetic, the published vectors, statistics, digests."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.bundle_builder import ALPHAS, SEED, small_contents

from audit.bundle.probes import make_probes, probe_digest, probes
from audit.errors import SignatureInvalidError

ZERO_SEED = bytes(32)
DOCUMENT = Path(__file__).parents[2] / "docs" / "bundle-format.md"


def _vectors() -> list[dict[str, Any]]:
    (block,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    vectors: list[dict[str, Any]] = json.loads(block)
    return vectors


def _pixel(value: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((1, 1, 1), value, np.uint8)


def test_a_noise_probe_of_one_pixel_is_what_the_hand_computes() -> None:
    stream = hashlib.shake_128(b"kinprint-probe-v1" + bytes(32 + 4 + 4)).digest(12)
    assert list(stream) == [230, 210, 171, 213, 160, 79, 187, 165, 46, 124, 223, 152]
    # The bytes sum to 1960, so g = 1960 - 1530 = 430.
    # 49152 * 100 + 16384 * 430 + 32768 = 11993088, and 11993088 / 65536 = 183.0.

    images = make_probes(
        0, _pixel(100), _pixel(0)[None], 49152, kind="noise", num_probes=1, seed=ZERO_SEED
    )

    assert images.tolist() == [[[[183]]]]


def test_an_ascent_probe_of_one_pixel_is_what_the_hand_computes() -> None:
    # The first byte of the same stream is u = 230; the end's pixel is 200.
    # 128 * 100 + 230 * (200 - 100) = 35800.
    # 128 * 49152 * 100 + 16384 * 35800 + 4194304 = 1219887104, / 8388608 = 145.4, rounded down 145.

    images = make_probes(
        0, _pixel(100), _pixel(200)[None], 49152, kind="ascent", num_probes=1, seed=ZERO_SEED
    )

    assert images.tolist() == [[[[145]]]]


@pytest.mark.parametrize("vector", _vectors(), ids=lambda v: f"{v['kind']}-{v['alpha']}")
def test_the_vectors_of_the_format_document_hold(vector: dict[str, Any]) -> None:
    seed, probe = bytes.fromhex(vector["seed"]), vector["probe"]
    trigger = np.array(vector["trigger"], np.uint8)[None, :, None]  # [n] -> [1, n, 1]
    ends = np.array(vector.get("end", vector["trigger"]), np.uint8)[None, None, :, None]
    stream = hashlib.shake_128(
        b"kinprint-probe-v1"
        + seed
        + vector["trigger_index"].to_bytes(4, "little")
        + probe.to_bytes(4, "little")
    )

    images = make_probes(
        vector["trigger_index"],
        trigger,
        ends,
        vector["alpha"],
        kind=vector["kind"],
        num_probes=probe + 1,
        seed=seed,
    )

    assert stream.digest(len(vector["stream"]) // 2).hex() == vector["stream"]
    assert images[probe].ravel().tolist() == vector["pixels"]


def test_ascent_probes_take_their_ends_in_turn() -> None:
    # With a = 0 and x = e the probe is e, whatever the stream says; x = e only for the first end.
    ends = np.stack([_pixel(100), _pixel(250)])

    images = make_probes(
        0, _pixel(100), ends, 0, kind="ascent", num_probes=40, seed=ZERO_SEED
    ).ravel()

    assert set(images[0::2].tolist()) == {100}
    assert set(images[1::2].tolist()) != {100}


def test_the_trigger_alone_is_left_at_full_weight() -> None:
    trigger = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)

    images = make_probes(5, trigger, trigger[None], 65536, kind="noise", num_probes=2, seed=SEED)

    assert (images == trigger).all()


def test_noise_has_the_mean_and_deviation_of_the_normal_distribution() -> None:
    # With a = 0, x plays no part: P(p = 0) = P(g <= 0) is about 1/2 and P(p = 255) about
    # P(Z >= 254.5 / 255.998) = 0.160; 60,000 draws have standard errors of 0.002 and 0.0015.
    trigger = np.zeros((100, 200, 3), np.uint8)

    image = make_probes(0, trigger, trigger[None], 0, kind="noise", num_probes=1, seed=SEED)

    assert (image == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert (image == 255).mean() == pytest.approx(0.160, abs=0.008)


def test_probes_of_different_triggers_and_numbers_differ() -> None:
    trigger = np.full((4, 4, 3), 128, np.uint8)

    first = make_probes(0, trigger, trigger[None], 30000, kind="noise", num_probes=8, seed=SEED)
    second = make_probes(1, trigger, trigger[None], 30000, kind="noise", num_probes=8, seed=SEED)

    distinct = np.unique(np.concatenate([first, second]).reshape(16, -1), axis=0)
    assert len(distinct) == 16


def test_a_bundle_regenerates_the_probes_that_its_digests_name() -> None:
    contents = small_contents()
    settings = contents.manifest.probes
    assert settings is not None

    for index, alpha in enumerate(ALPHAS):
        images = probes(
            index,
            contents.arrays.triggers[index],
            contents.arrays.probe_ends[index],
            alpha,
            settings,
        )
        assert probe_digest(images) == settings.digests[index]
        assert images.shape == (6, 8, 8, 3)


def test_probes_that_do_not_match_their_digest_are_refused() -> None:
    contents = small_contents()
    arrays = replace(contents.arrays, triggers=contents.arrays.triggers ^ np.uint8(1))
    settings = contents.manifest.probes
    assert settings is not None

    with pytest.raises(SignatureInvalidError, match=r"probes.digests\[1\]: expected"):
        probes(1, arrays.triggers[1], arrays.probe_ends[1], ALPHAS[1], settings)


@pytest.mark.parametrize(
    ("alpha", "num_ends", "seed", "message"),
    [
        (-1, 1, ZERO_SEED, "alpha: expected 0..65536, got -1"),
        (65537, 1, ZERO_SEED, "alpha: expected 0..65536, got 65537"),
        (1, 0, ZERO_SEED, "ends: expected at least one"),
        (1, 1, b"short", "seed: expected 32 bytes, got 5"),
    ],
)
def test_values_out_of_range_are_refused(
    alpha: int, num_ends: int, seed: bytes, message: str
) -> None:
    ends = np.zeros((num_ends, 1, 1, 1), np.uint8)

    with pytest.raises(ValueError, match=message):
        make_probes(0, _pixel(1), ends, alpha, kind="ascent", num_probes=1, seed=seed)
