"""AnaFP: images a calculated way beyond the boundary, not too near and not too far.

Yang, Geng, Chen, Luo, "Fingerprinting Deep Neural Networks for Ownership Protection: An Analytical
Approach", ICLR 2026 (arXiv 2603.21411). From an anchor x of class y, which the source f knows with
high confidence, the smallest perturbation d to the boundary of a class t is stretched by tau > 1:

    x(tau) = x + tau d,  stored with the label t

*Robust*: a derived model P keeps t while its logits shift by less than half of f's margin. With D_P
the largest shift of a logit at x(tau) and s the growth of f's margin per length beyond the boundary

    tau > lower(tau) = 1 + 2 D(tau) / (s ||d||)

*Unique*: an innocent I keeps y while its margin there is not used up. With L_I the local Lipschitz
constant of the margin

    tau < upper = m_y^I(x) / (L_I ||d||)

D and upper are quantiles over the pools instead of extremes over all models. As ``lower`` depends
on tau, a grid over the admissible interval is searched and the tau with the most room to either
bound is taken; points without an admissible tau are dropped.

The paper's constants were not available. Reconstructed here are: the anchors' confidence (0.9);
the quantiles (half of the derived models, 0.9 of the innocents: a tenth of the points of a CIFAR-10
ResNet-20 are feasible); s as the secant from the boundary to x(tau); D_P as half the range of the
logits' differences, since logits are defined up to a constant; L_I as the steepest fall of the
margin on the way to x + 2 d, x + 4 d and x + 8 d; the grid of 16 points within each interval
(paper: 500 in all); and the choice within the interval. The paper finds d by Carlini and Wagner's
attack in about 3,000 steps. The default here linearises and bisects, in some ten
(`generator.crafting.boundary`), which 600 points need to be done in minutes on a CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from adapters.strict_model import FrozenModel
from generator.crafting.boundary import carlini_wagner, margins, margins_and_gradients, nearest
from generator.crafting.clean_images import right_images
from generator.crafting.ensemble import frozen, micro_batches
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.crafting.pool_check import require_pools
from generator.crafting.stretch_bounds import Values, logit_shift, lower_bounds, upper_bounds
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

_TINY = 1e-12
_RAY = (2.0, 4.0, 8.0)
"""Where along the ray, in units of d, the fall of an innocent's margin is measured."""
_MAX_POINTS = 64
"""Points stretched together, so that it can stop soon after there are enough."""
_MAX_LADDER_BYTES = 1 << 26
"""Memory of their images at all values of tau."""


class AnaFpOptions(FrozenModel):
    """Settings; where no source is named they are reconstructed."""

    min_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """The source's probability of the true class that an anchor must have."""
    attack: Literal["linearised", "carlini-wagner"] = "linearised"
    """How the nearest boundary is found (paper: Carlini and Wagner)."""
    attack_steps: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Steps of the attack at most (paper: about 3,000 of Carlini and Wagner's)."""
    targets: Annotated[int, Field(ge=1, le=1000)] = 3
    """Classes tried per anchor, the source's likeliest first; at most K - 1."""
    slope: Literal["ray", "gradient"] = "ray"
    """How L_I is estimated: the steepest fall of the margin along the ray x + r d, or the larger of
    its gradient's lengths at x and x + d, which holds in all directions and leaves few points."""
    derived_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the derived models whose shift the lower bound covers."""
    innocent_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the innocents that stay with y below the upper bound."""
    grid: Annotated[int, Field(ge=2, le=10_000)] = 16
    """Values of tau tried within each point's interval (paper: 500)."""
    max_stretch: Annotated[float, Field(gt=1, le=1000)] = 20.0
    """Largest tau tried."""
    max_anchors: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """Anchors tried at most."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Stretched points, one per anchor and target."""

    images: NDArray[np.uint8]
    """At the chosen tau, ``[N, H, W, C]``; the anchor where there is none."""
    stretches: Values
    """The chosen tau, ``[N]``; NaN where none is admissible."""
    lower: Values
    """At the chosen tau, ``[N]``."""
    upper: Values
    """``[N]``; NaN where no boundary was found."""

    @property
    def room(self) -> Values:
        """Return the distance of tau to its nearer bound, ``[N]``; NaN where there is no tau."""
        return np.minimum(self.stretches - self.lower, self.upper - self.stretches)


def stretch(
    source: nn.Module,
    pools: Pools,
    anchors: NDArray[np.uint8],
    labels: NDArray[np.int64],
    targets: NDArray[np.int64],
    options: AnaFpOptions,
) -> Points:
    """Find each anchor's boundary, its bounds, and the best admissible tau between them.

    Args:
        source: Pixels in [0, 1] to logits.
        pools: Derived models and innocents, at least one of each.
        anchors: ``[N, H, W, C]``.
        labels: Their classes y, ``[N]``.
        targets: Classes t, ``[N]``.
        options: Attack, quantiles, grid.
    """
    device = next(source.parameters()).device
    pixels = to_unit_interval(torch.from_numpy(anchors).to(device))
    attack = nearest if options.attack == "linearised" else carlini_wagner
    goals = torch.from_numpy(targets).to(device)
    crossing = attack(source, pixels, goals, max_steps=options.attack_steps)
    lengths = crossing.directions.flatten(1).norm(dim=1).double().cpu().numpy()
    upper = _upper(pools.innocents, pixels, crossing.directions, labels, lengths, options)
    upper[~crossing.is_found.cpu().numpy()] = np.nan
    images, stretches = anchors.copy(), np.full(len(anchors), np.nan)
    lower = np.full(len(anchors), np.nan)
    open_ones = np.flatnonzero(upper > 1)
    if len(open_ones):
        # Strictly within the interval: neither end is admissible.
        shares = np.arange(1, options.grid + 1) / (options.grid + 1)
        ends = np.minimum(upper[open_ones], options.max_stretch)
        tried = 1 + shares[:, None] * (ends - 1)  # [G, N]
        moved = torch.from_numpy(open_ones).to(device)
        ladder = _ladder(pixels[moved], crossing.directions[moved], tried)
        bounds = _lower(source, pools.derived, ladder, targets[open_ones], tried, options)
        # [G, N]: to the nearer bound
        room = np.where(tried > bounds, np.minimum(tried - bounds, ends - tried), -np.inf)
        best, columns = room.argmax(axis=0), np.arange(len(open_ones))
        fits = room[best, columns] > -np.inf
        chosen, best, columns = open_ones[fits], best[fits], columns[fits]
        images[chosen], stretches[chosen] = ladder[best, columns], tried[best, columns]
        lower[chosen] = bounds[best, columns]
    return Points(images=images, stretches=stretches, lower=lower, upper=upper)


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: AnaFpOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Craft stretched points (see `FingerprintMethod.craft`).

    Every anchor is tried with the source's likeliest other class, then all with the next one, until
    there are enough feasible points; of more than enough those with the most room are kept.

    Findings: ``anchors`` (confident images), ``points_tried``, ``feasible_points``,
    ``feasible_anchors``, why the others were dropped (``no_boundary``, ``upper_below_1``,
    ``empty_interval``), and the quartiles of the tau kept.

    Raises:
        GenerationError: No pools, a source near chance, no anchor, or no feasible point; says the
            counts.
    """
    require_pools(METHOD.name, pools, num_derived=1, num_innocents=1)
    right, num_classes = right_images(source, carriers, labels, rng)
    logits = predict_logits(source, carriers[right])
    confidence = torch.from_numpy(logits).softmax(1).amax(1).numpy()
    is_sure = confidence >= options.min_confidence
    if not is_sure.any():
        raise GenerationError(
            f"min_confidence: expected images that the source is {options.min_confidence:g} sure "
            f"of, but the surest of {len(right)} has {confidence.max():.2f}; lower it"
        )
    anchors, logits = right[is_sure][: options.max_anchors], logits[is_sure][: options.max_anchors]
    # The likeliest other classes: an anchor is no target of itself.
    logits[np.arange(len(anchors)), labels[anchors]] = -np.inf
    num_targets = min(options.targets, num_classes - 1)
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :num_targets]  # [A, T]
    # All anchors with their likeliest class, then all with the next: it ends when there are enough.
    sources, targets = np.tile(anchors, num_targets), ranked.T.flatten()  # [T * A]
    size = _points_at_once(carriers, options)
    found: list[Points] = []
    num_tried = num_feasible = 0
    while num_tried < len(sources) and num_feasible < num_images:
        part = slice(num_tried, num_tried + size)
        chosen = sources[part]
        found.append(
            stretch(source, pools, carriers[chosen], labels[chosen], targets[part], options)
        )
        num_tried += len(chosen)
        num_feasible += int((~np.isnan(found[-1].stretches)).sum())
        on_step(num_tried, len(sources))
    on_step(len(sources), len(sources))
    return _fingerprint(source, carriers, sources[:num_tried], found, len(anchors), num_images)


def _fingerprint(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    anchors: NDArray[np.int64],
    found: Sequence[Points],
    num_anchors: int,
    num_images: int,
) -> Fingerprint:
    """Keep the points with the most room, and say what became of the others."""
    upper = np.concatenate([one.upper for one in found])
    stretches = np.concatenate([one.stretches for one in found])
    room = np.concatenate([one.room for one in found])
    feasible = np.flatnonzero(~np.isnan(stretches))
    num_lost, num_low = int(np.isnan(upper).sum()), int((upper <= 1).sum())
    num_empty = len(upper) - num_lost - num_low - len(feasible)
    if not len(feasible):
        raise GenerationError(
            f"points: expected some with an admissible stretch, got none of {len(upper)} from "
            f"{num_anchors} anchors: {num_lost} found no boundary, {num_low} have an upper bound "
            f"below 1, {num_empty} have a lower bound above the upper one; lower derived_share or "
            "innocent_share, or give pools that are closer to the source and surer of the anchors"
        )
    kept = np.sort(feasible[np.argsort(-room[feasible], kind="stable")[:num_images]])
    images = np.concatenate([one.images for one in found])[kept]
    quartiles = np.quantile(stretches[kept], (0.25, 0.5, 0.75))
    return Fingerprint(
        images=images,
        labels=predict_logits(source, images).argmax(axis=1),
        carriers=carriers[anchors[kept]],
        groups=np.arange(len(kept)),
        findings={
            "anchors": num_anchors,
            "points_tried": len(upper),
            "feasible_points": len(feasible),
            "feasible_anchors": len(np.unique(anchors[feasible])),
            "no_boundary": num_lost,
            "upper_below_1": num_low,
            "empty_interval": num_empty,
            "tau_quartiles": " ".join(f"{one:.3f}" for one in quartiles),
        },
    )


def _upper(
    innocents: Sequence[nn.Module],
    pixels: Tensor,
    directions: Tensor,
    labels: NDArray[np.int64],
    lengths: Values,
    options: AnaFpOptions,
) -> Values:
    """Measure the innocents' margins and slopes and return the upper bounds, ``[N]``."""
    truth = torch.from_numpy(labels).to(pixels.device)
    values, slopes = [], []
    for innocent in frozen(innocents):
        here = _margins(innocent, pixels, truth)
        if options.slope == "gradient":
            _, gradient = margins_and_gradients(innocent, pixels, truth)
            _, further = margins_and_gradients(innocent, pixels + directions, truth)
            steepest = torch.maximum(
                gradient.flatten(1).norm(dim=1), further.flatten(1).norm(dim=1)
            )
            slopes.append(steepest.double().cpu().numpy())
        else:
            falls = [
                (here - _margins(innocent, (pixels + far * directions).clamp(0, 1), truth)) / far
                for far in _RAY
            ]
            # Per unit of r so far; divided by ||d|| below, since r d is that much longer.
            steepest = torch.stack(falls).amax(0)  # [R, N] -> [N]
            slopes.append(steepest.double().cpu().numpy() / np.maximum(lengths, _TINY))
        values.append(here.double().cpu().numpy())
    return upper_bounds(
        np.stack(values), np.stack(slopes), lengths, innocent_share=options.innocent_share
    )


def _margins(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    with torch.inference_mode():
        parts = micro_batches(pixels, pixels.device)
        return torch.cat([margins(model(pixels[part]), classes[part]) for part in parts])


def _lower(
    source: nn.Module,
    derived: Sequence[nn.Module],
    ladder: NDArray[np.uint8],
    targets: NDArray[np.int64],
    stretches: Values,
    options: AnaFpOptions,
) -> Values:
    """Measure the derived models' shifts on ``[G, N]`` images and return the lower bounds."""
    images = ladder.reshape(-1, *ladder.shape[2:])  # [G, N, ...] -> [G * N, ...]
    own = predict_logits(source, images)
    goals = torch.from_numpy(np.tile(targets, len(ladder)))
    reached = margins(torch.from_numpy(own), goals).numpy()
    shifts = [logit_shift(own, predict_logits(model, images)) for model in derived]
    shape = stretches.shape
    return lower_bounds(
        stretches,
        reached.reshape(shape),
        np.stack(shifts).reshape(-1, *shape),
        derived_share=options.derived_share,
    )


def _ladder(pixels: Tensor, directions: Tensor, stretches: Values) -> NDArray[np.uint8]:
    """Return x + tau d on the 8-bit grid for each tau, ``[G, N, H, W, C]``."""
    rungs = []
    for row in stretches:
        factors = torch.from_numpy(row).to(directions)[:, None, None, None]
        moved = (pixels + factors * directions).clamp(0, 1)
        # [N, C, H, W] -> [N, H, W, C]
        rungs.append((moved * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.stack(rungs)


def _points_at_once(carriers: NDArray[np.uint8], options: AnaFpOptions) -> int:
    """Return how many points' ladders fit into memory, at most as many as a batch is worth."""
    bytes_each = options.grid * int(np.prod(carriers.shape[1:]))
    return max(1, min(_MAX_POINTS, _MAX_LADDER_BYTES // bytes_each))


METHOD = FingerprintMethod(
    name="anafp",
    title="AnaFP: an analytical approach to fingerprinting (Yang, Geng, Chen, Luo; ICLR 2026)",
    options=AnaFpOptions,
    score="matching-rate",
    needs=frozenset({"derived", "innocents"}),
    craft=craft,
)
