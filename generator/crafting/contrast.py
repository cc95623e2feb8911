"""Contrast queries: images that derived models call t and innocents do not.

The likelihood ratio gains most from an answer that derived models give and innocents never do. On
natural images a good innocent answers like a good derived model; so these are made: around a
natural image x of class y, towards the source's runner-up class t, minimise over
``||d||_inf <= 8/255``

    mean_d CE(f_d(x + d), t) + log(mean_i p_t(g_i(x + d)) + epsilon)

over derived models f_d and innocents g_i of the selection. The first term is MFUE's with a wrong
label (Xu et al., KDD 2026, Eq. 3); the second is the innocents' half of the evidence, which keeps
the image from becoming an adversarial example that everybody falls for (conferrability, Lukas et
al., ICLR 2021). An innocent that was not there simply says y.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from generator.crafting.descent import Descended, DescentSettings, descend
from generator.crafting.ensemble import frozen, micro_batches
from generator.torch_suspect import predict_logits
from generator.training import to_unit_interval


def runner_up(
    source: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the source's likeliest class other than the true one, ``[N]``."""
    logits = predict_logits(source, images)
    logits[np.arange(len(images)), labels] = -np.inf
    return np.asarray(logits.argmax(axis=1))


def craft_contrast(
    derived: Sequence[nn.Module],
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
        derived: Derived selection models; pixels in [0, 1] to logits.
        innocents: Innocent selection models, likewise.
        carriers: Natural images ``[N, H, W, C]``.
        targets: Class that derived models shall answer, ``[N]``.
        settings: Radius, steps, stopping.
        epsilon: As in the score; bounds what one query can say.
        on_step: Called with (queries finished, queries in all) after every step.
    """
    followers, others = frozen(derived), frozen(innocents)
    device = next(followers[0].parameters()).device

    def objective(
        images: NDArray[np.uint8], goals: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        losses, signs = [], []
        for part in micro_batches(images, device):
            pixels = to_unit_interval(torch.from_numpy(images[part]).to(device)).requires_grad_()
            goal = torch.from_numpy(goals[part]).to(device)
            loss = sum(
                (functional.cross_entropy(f(pixels), goal, reduction="none") for f in followers),
                start=torch.zeros(len(goal), device=device),
            ) / len(followers)
            if others:
                chosen = goal[:, None]
                shares = [g(pixels).softmax(1).gather(1, chosen)[:, 0] for g in others]
                loss = loss + (torch.stack(shares).mean(0) + epsilon).log()
            (gradient,) = torch.autograd.grad(loss.sum(), pixels)
            losses.append(loss.detach().double().cpu().numpy())
            # [N, C, H, W] -> [N, H, W, C]
            signs.append(gradient.sign().permute(0, 2, 3, 1).to(torch.int16).cpu().numpy())
        return np.concatenate(losses), np.concatenate(signs)

    return descend(objective, carriers, targets, settings, on_step=on_step)
