"""Probes of a trigger, regenerated from integers: the same bytes on every machine.

A probe mixes the trigger with something else, ``alpha x + (1 - alpha) d`` (Eq. 7); the share that
a suspect gives the trigger's class estimates its loss where only labels are told. Two kinds:

- ``ascent``: Eq. 7 read as a mixture of two valid images, the trigger and an end image found by
  gradient ascent, with a random weight per value.
- ``noise``: the authors' public code, ``clamp(alpha x + (1 - alpha) N(0, 1))``.

Nothing here may use floating point, a library's random generator or the byte order of the machine:
docs/bundle-format.md states the procedure with test vectors for other implementations.
Source: Xu et al., MFUE, KDD 2026, Eq. 7-9.
"""

import hashlib
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.bundle.manifest import ProbeSettings
from audit.errors import SignatureInvalidError
from audit.signing.canonical import array_sha256

ALPHA_ONE = 65536
"""Weight of the trigger that stands for 1."""

_DOMAIN = b"kinprint-probe-v1"
_BYTES_PER_NORMAL = 12
_MEAN_OF_NORMAL = 1530
"""Mean of the sum of 12 uniform bytes, 12 * 255 / 2; the variance is 12 (256^2 - 1) / 12."""


def probes(
    trigger_index: int,
    trigger: NDArray[np.uint8],
    ends: NDArray[np.uint8],
    alpha: int,
    settings: ProbeSettings,
) -> NDArray[np.uint8]:
    """Regenerate the probes of one trigger of a bundle and check them against their digest.

    Args:
        trigger_index: i, position in the bundle.
        trigger: ``[H, W, C]``.
        ends: End images of an ascent, ``[E, H, W, C]``; unused for noise.
        alpha: Weight of the trigger in 1/65536, 0..65536.
        settings: Kind, number, seed and digests, from the manifest.

    Returns:
        ``[M, H, W, C]``.

    Raises:
        SignatureInvalidError: The probes are not those that the owner used.
    """
    images = make_probes(
        trigger_index,
        trigger,
        ends,
        alpha,
        kind=settings.kind,
        num_probes=settings.num_probes,
        seed=bytes.fromhex(settings.seed),
    )
    digest = probe_digest(images)
    if digest != settings.digests[trigger_index]:
        raise SignatureInvalidError(
            f"probes.digests[{trigger_index}]: expected {settings.digests[trigger_index]}, "
            f"got {digest}; the bundle's alpha, seed or ends are not those of its probes"
        )
    return images


def make_probes(
    trigger_index: int,
    trigger: NDArray[np.uint8],
    ends: NDArray[np.uint8],
    alpha: int,
    *,
    kind: Literal["ascent", "noise"],
    num_probes: int,
    seed: bytes,
) -> NDArray[np.uint8]:
    """Make the probes of one trigger, for a bundle that is not signed yet.

    Args:
        trigger_index: i, position in the bundle.
        trigger: x, ``[H, W, C]``.
        ends: ``[E, H, W, C]``, E at least 1 for ``ascent``; unused for ``noise``.
        alpha: a, weight of the trigger in 1/65536, 0..65536.
        kind: Which of the two.
        num_probes: M.
        seed: 32 bytes.

    Returns:
        ``[M, H, W, C]``.

    Raises:
        ValueError: alpha or seed out of range, or an ascent without ends.
    """
    if not 0 <= alpha <= ALPHA_ONE:
        raise ValueError(f"alpha: expected 0..{ALPHA_ONE}, got {alpha}")
    if len(seed) != 32:
        # With another length, seed and indices could be read as another seed with other indices.
        raise ValueError(f"seed: expected 32 bytes, got {len(seed)}")
    if kind == "ascent" and not len(ends):
        raise ValueError("ends: expected at least one end image for ascent probes, got none")
    images = np.empty((num_probes, *trigger.shape), dtype=np.uint8)  # [M, H, W, C]
    for probe in range(num_probes):
        # A stream of its own for each probe, so that any of them can be made alone and in any
        # order; SHAKE needs no state that another language would have to repeat.
        stream = hashlib.shake_128(
            _DOMAIN + seed + trigger_index.to_bytes(4, "little") + probe.to_bytes(4, "little")
        ).digest
        if kind == "noise":
            images[probe] = _noise_probe(trigger, alpha, stream)
        else:
            images[probe] = _ascent_probe(trigger, ends[probe % len(ends)], alpha, stream)
    return images


def probe_digest(images: NDArray[np.uint8]) -> str:
    """Return SHA-256 in hex of the M probes of a trigger, ``[M, H, W, C]`` in C order."""
    return array_sha256(images)


def _noise_probe(
    trigger: NDArray[np.uint8], alpha: int, stream: Callable[[int], bytes]
) -> NDArray[np.uint8]:
    """Return ``clamp((a x + (65536 - a) g + 2^15) >> 16)``, g the sum of 12 bytes less 1530.

    The sum of 12 uniform bytes is a normal deviate by Irwin and Hall, of standard deviation
    255.998 in 8-bit steps: N(0, 1) where pixels run from 0 to 1.
    """
    # All fits int32: the mixture stays below 2^16 * 1530 + 2^15 < 2^27.
    values = np.frombuffer(stream(trigger.size * _BYTES_PER_NORMAL), np.uint8)
    # [n * 12] -> [12, n] -> [n]; summing along the long axis is several times faster
    sums = np.ascontiguousarray(values.reshape(-1, _BYTES_PER_NORMAL).T).sum(axis=0, dtype=np.int32)
    normal = (sums - _MEAN_OF_NORMAL).reshape(trigger.shape)  # [n] -> [H, W, C]
    # Half a step is added first, so that the shift, which rounds down also below 0, rounds to the
    # nearest.
    mixed = (alpha * trigger.astype(np.int32) + (ALPHA_ONE - alpha) * normal + (1 << 15)) >> 16
    return np.asarray(mixed.clip(0, 255), dtype=np.uint8)


def _ascent_probe(
    trigger: NDArray[np.uint8],
    end: NDArray[np.uint8],
    alpha: int,
    stream: Callable[[int], bytes],
) -> NDArray[np.uint8]:
    """Return ``clamp((128 a x + (65536 - a) (128 x + u (e - x)) + 2^22) >> 23)``, u one byte.

    ``u / 128`` is the random weight of the way from the trigger to the end, of mean about 1.
    """
    # int64: the mixture reaches 2^16 * 255^2 > 2^31.
    x = trigger.astype(np.int64)
    u = np.frombuffer(stream(trigger.size), np.uint8).reshape(trigger.shape)
    # 128 times the point that lies u / 128 of the way from the trigger to the end.
    far = 128 * x + u * (end.astype(np.int64) - x)
    # 2^23 = 65536 * 128 takes both weights back; 2^22 makes the shift round to the nearest.
    mixed = (alpha * 128 * x + (ALPHA_ONE - alpha) * far + (1 << 22)) >> 23
    return np.asarray(mixed.clip(0, 255), dtype=np.uint8)
