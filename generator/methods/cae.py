"""CAE: conferrable adversarial examples, which surrogates fall for and references do not.

Lukas, Zhang, Kerschbaum, "Deep Neural Network Fingerprinting by Conferrable Adversarial Examples",
ICLR 2021 (arXiv 1912.00888). With S(x) and R(x) the mean softmax of surrogates (models derived from
the source f) and of references (innocents), class t *confers* at x with

    c_t(x) = S_t(x) (1 - R_t(x))

The conferrable ensemble method (CEM) minimises over ``||x' - x||_inf <= radius``

    alpha H(1, max_{t != y} softmax(c(x'))_t) - beta H(f(x), f(x')) + gamma H(f(x'), S(x'))

with H the cross-entropy; every step draws anew which models take part (model dropout). Kept are
images that the source no longer calls by their true class, and whose score ``max_t c_t``, over all
models and at the source's own answer t, reaches a threshold.

Where this differs: steps are sign steps on the 8-bit grid instead of Adam's, so that the image that
is screened is the one that is stored. The second term has a cap, because it is unbounded and
outgrows the others. The third pulls S towards f but not f towards S, which would hold both where
they are. The maximum leaves out the true class y, which confers wherever references are wrong.
Carriers are images that the source gets right, so that y stands for f(x). An image stops once it
passes.
"""

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from adapters.strict_model import FrozenModel
from generator.crafting.clean_images import right_images
from generator.crafting.descent import DescentSettings, descend
from generator.crafting.ensemble import frozen, micro_batches
from generator.crafting.fingerprint import Fingerprint, FingerprintMethod, Pools, Step
from generator.crafting.pool_check import require_pools
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval

_TINY = 1e-12
"""Keeps logarithms of probabilities finite."""
_PATIENCE = 20
"""Steps without a better score before an image takes shorter ones or stops; dropout makes single
steps unsteady."""
_SPARE = 1.1
"""Carriers tried per image that is still missing."""


class CaeOptions(FrozenModel):
    """Settings of CEM; "re-implementations" are public code, the authors' own was not found."""

    radius: Annotated[int, Field(ge=1, le=128)] = 38
    """L-infinity radius in 8-bit levels: 0.15 of the range, as re-implementations for CIFAR-10."""
    max_steps: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Sign steps per image at most (re-implementations)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of each pool that sits out a step (re-implementations)."""
    alpha: Annotated[float, Field(ge=0, le=100)] = 3.0
    """Weight of conferrability. Paper: 1, at which the other two terms cancel wherever surrogates
    follow the source: 2 of 24 CIFAR-10 images reached 0.85, with 3 all did."""
    beta: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of leaving the source's first answer (paper)."""
    gamma: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the surrogates' agreement with the source (paper)."""
    max_repelling: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """Cap of the repelling term in nats (ours)."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Conferrability score that an image must reach (re-implementations: 0.85 to 0.95)."""
    keep: Literal["passing", "best"] = "passing"
    """``passing``: only images over the threshold; ``best``: the N best, whatever they reach."""
    max_carriers: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """Try at most so many carriers."""


def conferrability(surrogates: Tensor, references: Tensor) -> Tensor:
    """Return ``c = S (1 - R)``.

    Args:
        surrogates: Mean softmax of the surrogates, S ``[N, K]``.
        references: Mean softmax of the references, R ``[N, K]``.

    Returns:
        ``[N, K]`` in [0, 1].
    """
    return surrogates * (1 - references)


def cem_loss(
    source: Tensor, surrogates: Tensor, references: Tensor, truth: Tensor, options: CaeOptions
) -> Tensor:
    """Return the objective of CEM, ``[N]``.

    Args:
        source: Log-softmax of the source at the image, ``[N, K]``.
        surrogates: S at the image, ``[N, K]``.
        references: R at the image, ``[N, K]``.
        truth: The carriers' classes y ``[N]``.
        options: Weights and cap.
    """
    shares = conferrability(surrogates, references).log_softmax(1)
    conferring = shares.scatter(1, truth[:, None], -torch.inf).amax(1)  # [N, K] -> [N]
    repelling = functional.nll_loss(source, truth, reduction="none")
    # Without detach its pull towards the first answer grows with the surrogates' margin.
    following = -(source.detach().exp() * surrogates.clamp_min(_TINY).log()).sum(1)
    return (
        -options.alpha * conferring
        - options.beta * repelling.clamp_max(options.max_repelling)
        + options.gamma * following
    )


def screen(source: Tensor, conferring: Tensor, truth: Tensor) -> Tensor:
    """Return the score that decides whether an image is kept, ``[N]``.

    Args:
        source: Logits or log-softmax of the source, ``[N, K]``.
        conferring: c over all models, ``[N, K]``.
        truth: The carriers' classes ``[N]``.

    Returns:
        ``max_t c_t`` where the source answers that t and t is not the true class, otherwise 0.
    """
    score, best = conferring.max(1)
    answer = source.argmax(1)
    return torch.where((answer == best) & (answer != truth), score, torch.zeros_like(score))


def craft(
    source: nn.Module,
    carriers: NDArray[np.uint8],
    labels: NDArray[np.int64],
    pools: Pools,
    options: CaeOptions,
    *,
    num_images: int,
    rng: np.random.Generator,
    on_step: Step,
) -> Fingerprint:
    """Craft conferrable images (see `FingerprintMethod.craft`).

    Findings: ``carriers_tried``, ``passing`` (images over the threshold), ``threshold``,
    ``lowest_score`` of those kept, ``keep``.

    Raises:
        GenerationError: No pools, a source near chance, or no image reaches the threshold; says
            the best score.
    """
    require_pools(METHOD.name, pools, num_derived=1, num_innocents=1)
    right, _ = right_images(source, carriers, labels, rng)
    right = right[: options.max_carriers]
    ensemble = _Ensemble(source, pools, options, rng)
    settings = DescentSettings(
        radius=options.radius,
        max_steps=options.max_steps,
        patience=_PATIENCE,
        # The loss is minus the logarithm of the score: here an image passes.
        enough=-math.log(max(options.threshold, _TINY)),
    )
    images, scores = carriers[right], np.zeros(len(right))
    num_tried = 0
    while num_tried < len(right) and (scores >= options.threshold).sum() < num_images:
        missing = num_images - int((scores >= options.threshold).sum())
        part = slice(num_tried, num_tried + max(8, math.ceil(_SPARE * missing)))

        def report(done: int, total: int, before: int = num_tried) -> None:
            on_step(before + done, len(right))

        # What descends is CEM's objective; what is compared, and stops, is the screen itself.
        found = descend(
            ensemble.objective, images[part], labels[right[part]], settings, on_step=report
        )
        images[part], scores[part] = found.images, np.exp(-found.losses)
        num_tried = min(part.stop, len(right))
    on_step(len(right), len(right))
    kept = _kept(scores[:num_tried], options, num_images)
    return Fingerprint(
        images=images[kept],
        labels=predict_logits(source, images[kept]).argmax(axis=1),
        carriers=carriers[right[kept]],
        groups=np.arange(len(kept)),
        findings={
            "carriers_tried": num_tried,
            "passing": int((scores >= options.threshold).sum()),
            "threshold": options.threshold,
            "lowest_score": round(float(scores[kept].min()), 4),
            "keep": options.keep,
        },
    )


def _kept(scores: NDArray[np.float64], options: CaeOptions, num_images: int) -> NDArray[np.int64]:
    best = np.argsort(-scores, kind="stable")[:num_images]
    floor = options.threshold if options.keep == "passing" else 0.0
    kept = best[(scores[best] >= floor) & (scores[best] > 0)]
    if not len(kept):
        raise GenerationError(
            f"threshold: expected conferrability scores of at least {floor:g}, but of "
            f"{len(scores)} images the best reached {scores.max():.4g}; lower the threshold, keep "
            "the best instead of those that pass, or give surrogates that are closer to the source"
        )
    return kept


class _Ensemble:
    """Source, surrogates and references as one objective with model dropout."""

    def __init__(
        self, source: nn.Module, pools: Pools, options: CaeOptions, rng: np.random.Generator
    ) -> None:
        (self._source,) = frozen([source])
        self._surrogates, self._references = frozen(pools.derived), frozen(pools.innocents)
        self._device = next(self._source.parameters()).device
        self._options, self._rng = options, rng

    def objective(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        """Return minus the logarithm of the score over all models, and CEM's gradient signs.

        Args:
            images: ``[N, H, W, C]``.
            labels: True classes ``[N]``.
        """
        # One draw a step, the same for all parts of the batch.
        playing = [self._players(len(pool)) for pool in (self._surrogates, self._references)]
        losses, signs = [], []
        for part in micro_batches(images, self._device):
            pixels = to_unit_interval(torch.from_numpy(images[part]).to(self._device))
            pixels.requires_grad_()
            truth = torch.from_numpy(labels[part]).to(self._device)
            source = self._source(pixels).log_softmax(1)
            surrogates, all_surrogates = _mean_softmax(self._surrogates, playing[0], pixels)
            references, all_references = _mean_softmax(self._references, playing[1], pixels)
            loss = cem_loss(source, surrogates, references, truth, self._options)
            (gradient,) = torch.autograd.grad(loss.sum(), pixels)
            score = screen(source, conferrability(all_surrogates, all_references), truth)
            # A score of 0 is an infinite loss, which no later image fails to improve on.
            losses.append(-score.double().log().cpu().numpy())
            # [N, C, H, W] -> [N, H, W, C]
            signs.append(gradient.sign().permute(0, 2, 3, 1).to(torch.int16).cpu().numpy())
        return np.concatenate(losses), np.concatenate(signs)

    def _players(self, num: int) -> set[int]:
        """Draw who takes part in a step; always at least one."""
        num_playing = max(1, round((1 - self._options.dropout) * num))
        return set(self._rng.permutation(num)[:num_playing].tolist())


def _mean_softmax(
    models: Sequence[nn.Module], playing: Collection[int], pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean softmax ``[N, K]`` of those who play, and of all without gradient."""
    parts, everyone = [], []
    for number, model in enumerate(models):
        # Whoever sits out is asked all the same, without a graph: the screen counts all of them.
        with torch.set_grad_enabled(number in playing):
            probabilities = model(pixels).softmax(1)
        if number in playing:
            parts.append(probabilities)
        everyone.append(probabilities.detach())
    return torch.stack(parts).mean(0), torch.stack(everyone).mean(0)


METHOD = FingerprintMethod(
    name="cae",
    title="CAE: conferrable adversarial examples (Lukas, Zhang, Kerschbaum; ICLR 2021)",
    options=CaeOptions,
    score="matching-rate",
    needs=frozenset({"derived", "students", "innocents"}),
    craft=craft,
)
