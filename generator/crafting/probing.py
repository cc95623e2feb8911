"""Probes of triggers for suspects that tell labels only (MFUE-b, Eq. 7): ends, alpha, screening.

The probes themselves come from `audit.bundle.probes`, integer arithmetic that any auditor can
repeat. Here the weight alpha of each trigger is bisected until about half of its probes cross the
source's decision boundary; a trigger for which no alpha does so is unusable and dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.bundle.manifest import ProbeSettings
from audit.bundle.probes import ALPHA_ONE, make_probes, probe_digest
from audit.scores.mfue import probe_hits
from generator.crafting.ensemble import Ensemble
from generator.sources.torch_suspect import predict_logits

NUM_ENDS = 4
"""Ascent images per trigger that its probes are drawn towards."""
_ASCENT_RADIUS = 32
_ASCENT_STEPS = 12


@dataclass(frozen=True, kw_only=True)
class UsableProbes:
    """Probes of the triggers that have some."""

    kept: NDArray[np.int64]
    """Positions of the usable triggers, ``[N]``."""
    settings: ProbeSettings
    alphas: NDArray[np.int64]
    """``[N]`` in 1/65536."""
    ends: NDArray[np.uint8]
    """``[N, E, H, W, C]``; E is 0 for noise probes."""
    source_labels: NDArray[np.int64]
    """The source's classes of the probes, ``[N, M]``."""


def find_probes(
    source: nn.Module,
    triggers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    kind: Literal["ascent", "noise"],
    num_probes: int,
    num_wanted: int,
    seed: bytes,
    rng: np.random.Generator,
    on_step: Callable[[int, int], None] | None = None,
) -> UsableProbes:
    """Find alpha for each trigger, in order, until enough of them are usable.

    Args:
        source: Logits from pixels in [0, 1].
        triggers: Candidates ``[T, H, W, C]``.
        labels: Their true classes ``[T]``.
        kind: ``ascent``: towards images that climb the source's loss (paper); ``noise``: towards
            Gaussian noise (public code).
        num_probes: M.
        num_wanted: N; stop there.
        seed: 32 bytes that seed the probes.
        rng: Source of the ascent's random starts.
        on_step: Called with (usable triggers, wanted).

    Returns:
        At most ``num_wanted`` usable triggers.
    """
    ends = _ends(source, triggers, labels, kind, rng)
    kept: list[int] = []
    alphas: list[int] = []
    answers: list[NDArray[np.int64]] = []
    digests: list[str] = []
    for position in range(len(triggers)):
        if len(kept) == num_wanted:
            break
        # The probe stream is indexed by the trigger's place in the bundle.
        index = len(kept)

        def ask(
            alpha: int, index: int = index, position: int = position
        ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            images = make_probes(
                index,
                triggers[position],
                ends[position],
                alpha,
                kind=kind,
                num_probes=num_probes,
                seed=seed,
            )
            return images, predict_logits(source, images).argmax(axis=1)

        found = _bisect(ask, int(labels[position]), num_probes)
        if found is not None:
            alpha, images, given = found
            kept.append(position)
            alphas.append(alpha)
            answers.append(given)
            digests.append(probe_digest(images))
        if on_step is not None:
            on_step(len(kept), num_wanted)
    chosen = np.array(kept, dtype=np.int64)
    return UsableProbes(
        kept=chosen,
        settings=ProbeSettings(
            kind=kind, num_probes=num_probes, seed=seed.hex(), digests=tuple(digests)
        ),
        alphas=np.array(alphas, dtype=np.int64),
        ends=ends[chosen],
        source_labels=np.array(answers, dtype=np.int64).reshape(-1, num_probes),
    )


def _bisect(
    ask: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.int64]]],
    label: int,
    num_probes: int,
    max_halvings: int = 10,
) -> tuple[int, NDArray[np.uint8], NDArray[np.int64]] | None:
    """Bisect alpha until 40-60 % of the probes keep the trigger's class on the source."""
    # The more of a trigger is in its probes, the more of them keep its class.
    low, high = 0, ALPHA_ONE
    for _ in range(max_halvings):
        alpha = (low + high) // 2
        images, given = ask(alpha)
        share = probe_hits(given[None], np.array([label]))[0] / num_probes
        if 0.4 <= share <= 0.6:
            return alpha, images, given
        if share > 0.6:
            high = alpha  # too close to the trigger
        else:
            low = alpha
    return None


def _ends(
    source: nn.Module,
    triggers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    kind: str,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    if kind == "noise":
        return np.empty((len(triggers), 0, *triggers.shape[1:]), dtype=np.uint8)
    ensemble = Ensemble([source])
    center = triggers.astype(np.int16)
    ends = []
    for _ in range(NUM_ENDS):
        start = rng.integers(-_ASCENT_RADIUS, _ASCENT_RADIUS + 1, center.shape, dtype=np.int16)
        # From anywhere within half of the radius, so that the ends lie in different directions.
        current = np.clip(center + start // 2, 0, 255)
        for _ in range(_ASCENT_STEPS):
            _, gradients = ensemble.losses_and_gradients(current.astype(np.uint8), labels)
            # Up the loss, in steps that together could cross nearly the whole ball.
            moved = current + np.int16(2 * _ASCENT_RADIUS // _ASCENT_STEPS) * gradients
            bounded = np.clip(moved, center - _ASCENT_RADIUS, center + _ASCENT_RADIUS)
            current = np.clip(bounded, 0, 255)
        ends.append(current.astype(np.uint8))
    return np.stack(ends, axis=1)  # E of [N, H, W, C] -> [N, E, H, W, C]
