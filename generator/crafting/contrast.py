"""Contrast queries: images that derived models call t and innocents do not.

The likelihood ratio gains most from an answer that derived models give and innocents never do. On
natural images a good innocent answers like a good derived model; so these are made: around a
natural image x of class y, towards the source's runner-up class t, minimise over
``||d||_inf <= radius``, on average over some views v of an image (itself, mirrored, resized),

    mean_d CE(f_d(v(x + d)), t) + log(mean_i p_t(g_i(v(x + d))) + epsilon)

over derived models f_d and innocents g_i of the selection. Both come in groups that count the same
(`generator.crafting.queries`), and like is set against like: hardened copies of the source against
hardened siblings, so that no query tells the hardening instead of the lineage. The first term is
MFUE's with a wrong label (Xu et al., KDD 2026, Eq. 3); the second is the innocents' half of the
evidence, which keeps the image from becoming an adversarial example that everybody falls for
(conferrability, Lukas et al., ICLR 2021). An innocent that was not there simply says y.

Views are an expectation over transformations (Athalye et al., ICML 2018) with few fixed samples,
dealt out to the models of a group: that costs hardly more than one view, and every loss is that of
the same function, so that the descent knows when it has stopped improving.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from generator.crafting.descent import Descended, DescentSettings, Objective
from generator.crafting.ensemble import added_up, frozen, micro_batches
from generator.crafting.kept_blocks import KeptBlocks, descend_in_blocks, objective_digest
from generator.crafting.views import View, keep
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import to_unit_interval
from generator.training.ranks import current_ranks


def runner_up(
    source: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the source's likeliest class other than the true one, ``[N]``."""
    logits = predict_logits(source, images)
    logits[np.arange(len(images)), labels] = -np.inf
    return np.asarray(logits.argmax(axis=1))


def craft_contrast(
    derived: Sequence[Sequence[nn.Module]],
    innocents: Sequence[Sequence[nn.Module]],
    carriers: NDArray[np.uint8],
    targets: NDArray[np.int64],
    settings: DescentSettings,
    *,
    epsilon: float,
    views: Sequence[View] = (keep,),
    work: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Descended:
    """Make contrast queries.

    Args:
        derived: Groups of derived selection models; pixels in [0, 1] to logits.
        innocents: Groups of innocent selection models, likewise; none leaves their term out.
        carriers: Natural images ``[N, H, W, C]``.
        targets: Class that derived models shall answer, ``[N]``.
        settings: Radius, steps, stopping.
        epsilon: As in the score; bounds what one query can say.
        views: What models may be shown instead of the image; each counts the same.
        work: Folder for blocks of queries that are finished.
        on_step: Called with (queries finished, queries in all) after every step.
    """
    objective = contrast_objective(derived, innocents, epsilon=epsilon, views=views)
    kept = None
    if work is not None:
        # What a view does is told by what it makes of an image.
        sample = torch.linspace(0, 1, 192).reshape(1, 3, 8, 8)
        told = [view(sample).flatten().tolist() for view in views]
        digest = objective_digest([*derived, *innocents], settings, [len(derived), epsilon, told])
        kept = KeptBlocks(work, "query", digest)
    return descend_in_blocks(objective, carriers, targets, settings, kept=kept, on_step=on_step)


def contrast_objective(
    derived: Sequence[Sequence[nn.Module]],
    innocents: Sequence[Sequence[nn.Module]],
    *,
    epsilon: float,
    views: Sequence[View] = (keep,),
) -> Objective:
    """Return what contrast queries minimise; arguments as in `craft_contrast`.

    Several processes (`generator.training.ranks`) ask a share of the models each and add up what
    they find:

        mean_d CE(f_d, t) + log(q + epsilon),  q = mean_i p_t(g_i)

    has the gradient ``mean_d dCE(f_d, t) + dq / (q + epsilon)``, so that sums over models are all
    that one process needs of another.
    """
    ranks = current_ranks()
    followers = [[_mine(part) for part in _dealt(group, len(views))] for group in derived]
    others = [[_mine(part) for part in _dealt(group, len(views))] for group in innocents]
    device = next(derived[0][0].parameters()).device

    def seen(pixels: Tensor, goal: Tensor, number: int) -> tuple[Tensor, Tensor]:
        shown = views[number](pixels)
        loss, slope = torch.zeros(len(goal), device=device), torch.zeros_like(shown)
        for group in followers:
            models, num = group[number]
            missed, own = map(ranks.add_up, added_up(models, shown, _missed(goal)))
            # The mean of a group, then over groups: no number of copies drowns what students
            # would say.
            loss = loss + missed / num / len(derived)
            slope = slope + own / num / len(derived)
        for group in others:
            models, num = group[number]
            share, own = map(ranks.add_up, added_up(models, shown, _share(goal)))
            share = share / num + epsilon
            loss = loss + share.log() / len(innocents)
            # [N] -> [N, 1, 1, 1]
            slope = slope + own / num / share[:, None, None, None] / len(innocents)
        # Back through the view, once for all models.
        (gradient,) = torch.autograd.grad(shown, pixels, slope)
        return loss, gradient

    def objective(
        images: NDArray[np.uint8], goals: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        losses, signs = [], []
        for part in micro_batches(images, device):
            pixels = to_unit_interval(torch.from_numpy(images[part]).to(device)).requires_grad_()
            goal = torch.from_numpy(goals[part]).to(device)
            found = [seen(pixels, goal, number) for number in range(len(views))]
            loss = torch.stack([one for one, _ in found]).mean(0)
            gradient = torch.stack([one for _, one in found]).mean(0)
            losses.append(loss.double().cpu().numpy())
            # [N, C, H, W] -> [N, H, W, C]
            signs.append(gradient.sign().permute(0, 2, 3, 1).to(torch.int16).cpu().numpy())
        return np.concatenate(losses), np.concatenate(signs)

    return objective


def _dealt(models: Sequence[nn.Module], num_views: int) -> list[list[nn.Module]]:
    """Deal a group's models out to the views; where there are too few, a model sees several."""
    if len(models) < num_views:
        return [[models[number % len(models)]] for number in range(num_views)]
    return [list(models[number::num_views]) for number in range(num_views)]


def _mine(models: Sequence[nn.Module]) -> tuple[list[nn.Module], int]:
    """Return this process's share of some models, and how many all processes have."""
    return frozen(current_ranks().mine(models)), len(models)


def _missed(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Measure by how much logits miss the goal classes: the cross-entropy, ``[N]``."""
    return lambda logits: functional.cross_entropy(logits, goal, reduction="none")


def _share(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Measure the probability of the goal classes, ``[N]``."""
    # [N, K] -> [N]
    return lambda logits: logits.softmax(1).gather(1, goal[:, None])[:, 0]
