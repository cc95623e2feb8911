"""ADV-TRA: chains of ever more adversarial images across the boundaries of several classes.

Xu et al., "United We Stand, Divided We Fall: Fingerprinting Deep Neural Networks via Adversarial
Trajectories", NeurIPS 2024. A trajectory starts at a clean image and visits m - 1 other classes one
after the other. Each crossing into a class t takes L points, half of them on the way in:

    x_{i+1} = clip(x_i - s_i sign(grad CE(f(x_i), t)))

with steps ``s_1 > ... > s_{L/2}`` that brake before the boundary. Points before the boundary are
not t, the one in the middle (the last on the way in) is the first that is t. The way out repeats
the steps in reverse and stays within t; the next crossing starts at its end.

The paper adapts the steps by gradient descent on ``(decay s_i - s_{i+1})^2``, multiplied by about
1 / 0.9 where the walk ends short of t and by 0.9 where it arrives early. The penalty's minimum is
``s_i = a decay^i``, so that here one number per crossing, a, is bracketed and bisected.

Length: L counts the points of one crossing, as in the public code, so that a trajectory has
``(m - 1) L`` points and N trajectories cost ``N (m - 1) L`` queries. The clean image itself is not
asked. The papers' length of 40 with m = 8 would cost 28,000 queries for 100 trajectories. The
default L = 6 gives 42 points per trajectory, 4,200 queries: the papers' 40 as a whole trajectory's
length. Longer ones told models apart better in the paper.

Points live on the 8-bit grid, where a step may be a fraction of a level. Each pixel therefore
carries a hidden offset below half a level, fixed at random: a step of 0.3 levels moves three pixels
of ten by one level. All gradients and labels are those of the rounded image.

An auditor counts, per trajectory, the share of points whose label differs from the source's
(mutation rate) and detects a trajectory below one half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional

from adapters.strict_model import FrozenModel
from generator.crafting.clean_images import right_images
from generator.crafting.ensemble import micro_batches
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

_MAX_OFFSET = 0.499
"""Hidden offset of a pixel in 8-bit levels, below what rounding would show."""


class TrajectoryOptions(FrozenModel):
    """How long and through how many classes."""

    length: Annotated[int, Field(ge=2, le=200)] = 6
    """Points of one crossing, L; even. Paper: 40 (see above)."""
    num_classes: Annotated[int, Field(ge=2, le=1000)] = 8
    """Classes that a trajectory visits, m, the clean image's own included; at most K are used.
    Xu et al., "MFUE", KDD 2026: 8."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Length of a step on the way in, relative to the one before; public code: 0.95."""
    first_step: Annotated[float, Field(gt=0, le=128)] = 4.0
    """First guess of a trajectory's first step in 8-bit levels; adapted, so that it only costs
    time. Public code: 12.75."""
    max_rounds: Annotated[int, Field(ge=1, le=1000)] = 30
    """Walks per crossing before its trajectory is given up; public code: 300."""

    @field_validator("length")
    @classmethod
    def _is_even(cls, length: int) -> int:
        if length % 2:
            raise ValueError(f"length: expected an even number of points, got {length}")
        return length


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: TrajectoryOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step | None = None,
) -> Fingerprint:
    """Craft trajectories; see `FingerprintMethod.craft`.

    ``num_images`` counts trajectories. Clean images whose trajectory cannot be made are replaced by
    others while there are some.

    Returns:
        The points of each trajectory in the order of walking; groups number the trajectories.
    """
    order, num_classes = right_images(source, carriers, labels, rng)
    num_crossings = min(options.num_classes, num_classes) - 1
    waves: list[_Wave] = []
    num_done, num_tried = 0, 0
    while num_done < num_images and num_tried < len(order):
        bases = order[num_tried : num_tried + num_images - num_done]
        targets = _draw_targets(labels[bases], num_classes, num_crossings, rng)
        num_before = num_done * num_crossings

        def report(crossed: int, before: int = num_before) -> None:
            if on_step is not None:
                on_step(before + crossed, num_images * num_crossings)

        # As many as are missing at once; whoever fails is replaced in the next wave.
        wave = _walk_wave(source, carriers[bases], bases, targets, options, rng, report)
        waves.append(wave)
        num_tried += len(bases)
        num_done += len(wave.bases)
    if not num_done:
        raise GenerationError(
            f"adv-tra: none of {num_tried} trajectories crosses into its {num_crossings} target "
            f"class{'es' if num_crossings > 1 else ''} within {options.max_rounds} rounds; raise "
            "max_rounds, or lower num_classes or length"
        )
    num_points = num_crossings * options.length
    points = np.concatenate([wave.points for wave in waves])
    # [T, S, L, H, W, C] -> [N, H, W, C]
    images = points.reshape(-1, *carriers.shape[1:])
    kept = np.concatenate([wave.bases for wave in waves])
    return Fingerprint(
        images=images,
        labels=predict_logits(source, images).argmax(axis=1),
        carriers=np.repeat(carriers[kept], num_points, axis=0),
        groups=np.repeat(np.arange(num_done), num_points),
        findings={
            "trajectories": num_done,
            "trajectories_tried": num_tried,
            "points_per_trajectory": num_points,
            "mean_rounds_per_crossing": round(
                sum(wave.num_walks for wave in waves) / (num_tried * num_crossings), 2
            ),
        },
    )


METHOD = FingerprintMethod(
    name="adv-tra",
    title="ADV-TRA: adversarial trajectories (Xu et al., NeurIPS 2024)",
    options=TrajectoryOptions,
    score="trajectory-rate",
    needs=frozenset(),
    craft=craft,
)


def _draw_targets(
    own: NDArray[np.int64], num_classes: int, num_crossings: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the classes that each trajectory visits, ``[T, S]``, none twice and not its own."""
    # Numbers 1..K-1 added to the own class modulo K are the other classes.
    ways = np.stack([1 + rng.permutation(num_classes - 1)[:num_crossings] for _ in own])
    return np.asarray((own[:, None] + ways) % num_classes, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _Wave:
    """Finished trajectories, T of S crossings."""

    bases: NDArray[np.int64]
    """Position of each one's clean image, ``[T]``."""
    points: NDArray[np.uint8]
    """``[T, S, L, H, W, C]``"""
    num_walks: int
    """Walks of all crossings together, failed trajectories included."""


def _walk_wave(
    source: nn.Module,
    images: NDArray[np.uint8],
    bases: NDArray[np.int64],
    targets: NDArray[np.int64],
    options: TrajectoryOptions,
    rng: np.random.Generator,
    report: Callable[[int], None],
) -> _Wave:
    """Advance all trajectories together, each in its own crossing, until all finish or fail."""
    num, num_crossings = targets.shape
    profile = (options.decay ** np.arange(options.length // 2)).astype(np.float32)
    points = np.empty((num, num_crossings, options.length, *images.shape[1:]), dtype=np.uint8)
    offsets = rng.uniform(-_MAX_OFFSET, _MAX_OFFSET, images.shape)
    current = (images + offsets).astype(np.float32)
    crossing = np.zeros(num, dtype=np.int64)
    rounds = np.zeros(num, dtype=np.int64)
    num_walks = 0
    search = _ScaleSearch(num, options.first_step)
    active = np.arange(num)
    while len(active):
        goals = targets[active, crossing[active]]
        steps = search.scales[active, None] * profile  # [A, L/2]
        inward = _walk(source, current[active], goals, steps)
        is_goal = inward.labels == goals[:, None]  # [A, L/2]
        is_early = is_goal[:, :-1].any(axis=1)
        arrived = np.flatnonzero(is_goal[:, -1] & ~is_early)
        outward = _walk(source, inward.ends[arrived], goals[arrived], steps[arrived, ::-1])
        # A way out that leaves the class again began too close to the boundary.
        stays = (outward.labels == goals[arrived, None]).all(axis=1)
        done, crossed = active[arrived[stays]], np.zeros(len(active), dtype=np.bool_)
        crossed[arrived[stays]] = True
        way = np.concatenate([inward.points[arrived[stays]], outward.points[stays]], axis=1)
        points[done, crossing[done]] = way
        current[done] = outward.ends[stays]
        num_walks += len(active)
        rounds[active] += 1
        search.narrow(active[~crossed], is_early[~crossed])
        search.restart(done)
        crossing[done] += 1
        rounds[done] = 0
        report(int(crossing.sum()))
        going = (crossing[active] < num_crossings) & (rounds[active] < options.max_rounds)
        active = active[going]
    finished = np.flatnonzero(crossing == num_crossings)
    return _Wave(bases=bases[finished], points=points[finished], num_walks=num_walks)


class _ScaleSearch:
    """For each trajectory the first step of its present crossing, bracketed and bisected."""

    def __init__(self, num: int, first: float) -> None:
        self.scales = np.full(num, first, dtype=np.float32)
        self._too_short = np.zeros(num, dtype=np.float32)
        self._too_long = np.full(num, np.inf, dtype=np.float32)

    def narrow(self, which: NDArray[np.int64], is_early: NDArray[np.bool_]) -> None:
        """Take the next guess of some, which arrived early or not at all."""
        early, late = which[is_early], which[~is_early]
        self._too_long[early] = self.scales[early]
        self._too_short[late] = self.scales[late]
        low, high = self._too_short[which], self._too_long[which]
        # The geometric mean, since a first step is a scale; without a bracket it is doubled or
        # halved.
        middle = np.sqrt(low * np.where(np.isinf(high), 0, high))
        self.scales[which] = np.select(
            [np.isinf(high), low == 0], [np.minimum(2 * low, 255), high / 2], middle
        )

    def restart(self, which: NDArray[np.int64]) -> None:
        """Forget the brackets of some; their next crossing begins with the step of the last."""
        self._too_short[which], self._too_long[which] = 0, np.inf


@dataclass(frozen=True, kw_only=True)
class _Walked:
    points: NDArray[np.uint8]
    """``[A, J, H, W, C]`` after each of J steps."""
    labels: NDArray[np.int64]
    """The source's class of each point, ``[A, J]``."""
    ends: NDArray[np.float32]
    """The last points before rounding, ``[A, H, W, C]`` in levels."""


def _walk(
    source: nn.Module,
    starts: NDArray[np.float32],
    goals: NDArray[np.int64],
    steps: NDArray[np.float32],
) -> _Walked:
    """Walk from starts ``[A, H, W, C]`` to goals ``[A]`` in steps ``[A, J]`` of 8-bit levels."""
    current = starts
    points = np.empty((*steps.shape, *starts.shape[1:]), dtype=np.uint8)
    labels = np.empty(steps.shape, dtype=np.int64)
    rounded = np.rint(current).astype(np.uint8)
    for number, step in enumerate(steps.T):
        # One pass tells a point's class and the way from it, so that classes come one step late.
        before, signs = _labels_and_signs(source, rounded, goals)
        if number:
            labels[:, number - 1] = before
        current = np.clip(current - step[:, None, None, None] * signs, 0, 255)
        rounded = np.rint(current).astype(np.uint8)
        points[:, number] = rounded
    if len(starts):
        labels[:, -1] = predict_logits(source, rounded).argmax(axis=1)
    return _Walked(points=points, labels=labels, ends=current)


def _labels_and_signs(
    source: nn.Module, images: NDArray[np.uint8], goals: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the source's classes ``[A]`` and signs of the loss's gradient ``[A, H, W, C]``."""
    device = next(source.parameters()).device
    labels = np.empty(len(images), dtype=np.int64)
    signs = np.empty(images.shape, dtype=np.int8)
    for part in micro_batches(images, device):
        pixels = to_unit_interval(torch.from_numpy(images[part]).to(device)).requires_grad_()
        logits = source(pixels)
        goal = torch.from_numpy(goals[part]).to(device)
        loss = functional.cross_entropy(logits, goal, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
        labels[part] = logits.argmax(dim=1).cpu().numpy()
        # [A, C, H, W] -> [A, H, W, C]
        signs[part] = gradient.sign().permute(0, 2, 3, 1).to(torch.int8).cpu().numpy()
    return labels, signs
