"""Contrast queries: images that derived models call t and innocents do not.

The likelihood ratio gains most from an answer that derived models give and innocents never do. On
natural images a good innocent answers like a good derived model; so these are made: around a
natural image x of class y, towards the source's runner-up class t, minimise over
``||d||_inf <= 8/255``

    mean_d CE(f_d(x + d), t) + log(mean_i p_t(g_i(x + d)) + epsilon)

over derived models f_d, every group of them counting the same (`generator.crafting.queries`), and
innocents g_i of the selection. The first term is MFUE's with a wrong
label (Xu et al., KDD 2026, Eq. 3); the second is the innocents' half of the evidence, which keeps
the image from becoming an adversarial example that everybody falls for (conferrability, Lukas et
al., ICLR 2021). An innocent that was not there simply says y.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from generator.crafting.descent import Descended, DescentSettings, Objective, descend
from generator.crafting.ensemble import added_up, frozen, micro_batches
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
    innocents: Sequence[nn.Module],
    carriers: NDArray[np.uint8],
    targets: NDArray[np.int64],
    settings: DescentSettings,
    *,
    epsilon: float,
    on_step: Callable[[int, int], None] | None = None,
) -> Descended:
    """Make contrast queries.

    Args:
        derived: Groups of derived selection models; pixels in [0, 1] to logits.
        innocents: Innocent selection models, likewise.
        carriers: Natural images ``[N, H, W, C]``.
        targets: Class that derived models shall answer, ``[N]``.
        settings: Radius, steps, stopping.
        epsilon: As in the score; bounds what one query can say.
        on_step: Called with (queries finished, queries in all) after every step.
    """
    objective = contrast_objective(derived, innocents, epsilon=epsilon)
    return descend(objective, carriers, targets, settings, on_step=on_step)


def contrast_objective(
    derived: Sequence[Sequence[nn.Module]], innocents: Sequence[nn.Module], *, epsilon: float
) -> Objective:
    """Return what contrast queries minimise; arguments as in `craft_contrast`.

    Several processes (`generator.training.ranks`) ask a share of the models each and add up what
    they find:

        mean_d CE(f_d, t) + log(q + epsilon),  q = mean_i p_t(g_i)

    has the gradient ``mean_d dCE(f_d, t) + dq / (q + epsilon)``, so that sums over models are all
    that one process needs of another.
    """
    ranks = current_ranks()
    followers = [frozen(ranks.mine(group)) for group in derived]
    others = frozen(ranks.mine(innocents))
    device = next(derived[0][0].parameters()).device

    def objective(
        images: NDArray[np.uint8], goals: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        losses, signs = [], []
        for part in micro_batches(images, device):
            pixels = to_unit_interval(torch.from_numpy(images[part]).to(device)).requires_grad_()
            goal = torch.from_numpy(goals[part]).to(device)
            loss, gradient = torch.zeros(len(goal), device=device), torch.zeros_like(pixels)
            for models, group in zip(followers, derived, strict=True):
                missed, slope = map(ranks.add_up, added_up(models, pixels, _missed(goal)))
                # The mean of a group, then over groups: no number of copies drowns what students
                # would say.
                loss = loss + missed / len(group) / len(derived)
                gradient = gradient + slope / len(group) / len(derived)
            if innocents:
                share, slope = map(ranks.add_up, added_up(others, pixels, _share(goal)))
                share = share / len(innocents) + epsilon
                loss = loss + share.log()
                # [N] -> [N, 1, 1, 1]
                gradient = gradient + slope / len(innocents) / share[:, None, None, None]
            losses.append(loss.double().cpu().numpy())
            # [N, C, H, W] -> [N, H, W, C]
            signs.append(gradient.sign().permute(0, 2, 3, 1).to(torch.int16).cpu().numpy())
        return np.concatenate(losses), np.concatenate(signs)

    return objective


def _missed(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Measure by how much logits miss the goal classes: the cross-entropy, ``[N]``."""
    return lambda logits: functional.cross_entropy(logits, goal, reduction="none")


def _share(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Measure the probability of the goal classes, ``[N]``."""
    # [N, K] -> [N]
    return lambda logits: logits.softmax(1).gather(1, goal[:, None])[:, 0]
