"""Losses and input gradients of a whole pool at once, bounded in memory."""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from generator.training.device import mixed_precision
from generator.training.loop import to_unit_interval
from generator.training.ranks import current_ranks

_MAX_BATCH_BYTES = 64 * 3 * 32 * 32 * 4
"""Pixels (float32) of one micro-batch on a CPU: 64 CIFAR images, fewer larger ones."""
_MAX_BATCH_BYTES_CUDA = 32 * _MAX_BATCH_BYTES


def frozen(pool: Sequence[nn.Module]) -> list[nn.Module]:
    """Return copies in evaluation mode whose weights take no gradients."""
    return [copy.deepcopy(model).eval().requires_grad_(False) for model in pool]


def micro_batches(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Iterator[slice]:
    """Cut a batch of images, channels last or first, into parts that bound memory."""
    limit = _MAX_BATCH_BYTES_CUDA if device.type == "cuda" else _MAX_BATCH_BYTES
    size = max(1, limit // (4 * int(np.prod(images.shape[1:]))))
    return (slice(start, start + size) for start in range(0, len(images), size))


def added_up(
    models: Sequence[nn.Module], pixels: Tensor, measure: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Add up what models say of each image, and how that changes with its pixels.

    One model runs after the other, so that only one graph is in memory.

    Args:
        models: Frozen models; none gives zeros.
        pixels: Images in [0, 1] that take gradients, ``[N, C, H, W]``.
        measure: From one model's logits ``[N, K]`` to a number per image, ``[N]``.

    Returns:
        The sums ``[N]`` and their gradients ``[N, C, H, W]``.
    """
    total, gradient = torch.zeros(len(pixels), device=pixels.device), torch.zeros_like(pixels)
    for model in models:
        each = measure(model(pixels))
        (own,) = torch.autograd.grad(each.sum(), pixels)
        total += each.detach()
        gradient += own
    return total, gradient


class Ensemble:
    """A pool of models as one function.

    On CUDA the members run as one batched network (their weights stacked); on a CPU, where grouped
    convolutions are slower than plain ones, they run one after another over the same batch. Several
    processes (`generator.training.ranks`) have a share of the members each and add up what they
    find.

    Args:
        pool: Models of one architecture for CUDA; any models on a CPU.
    """

    def __init__(self, pool: Sequence[nn.Module]) -> None:
        self._device = next(pool[0].parameters()).device
        self._ranks, self._size = current_ranks(), len(pool)
        self._pool = frozen(self._ranks.mine(pool))
        self._stacked: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        if self._device.type == "cuda" and self._pool:
            self._stacked = stack_module_state(self._pool)

    def losses_and_gradients(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        """Return the pool's mean cross-entropy and the sign of its gradient.

        Args:
            images: ``[N, H, W, C]``.
            labels: Goal classes ``[N]``.

        Returns:
            Losses ``[N]`` in nats and gradient signs ``[N, H, W, C]`` in {-1, 0, 1}.
        """
        losses, signs = [], []
        for part in micro_batches(images, self._device):
            batch = torch.from_numpy(images[part]).to(self._device)
            goal = torch.from_numpy(labels[part]).to(self._device)
            pixels = to_unit_interval(batch)
            loss, gradient = map(self._ranks.add_up, self._batch(pixels, goal))
            losses.append(loss.double().cpu().numpy())
            # [N, C, H, W] -> [N, H, W, C]
            signs.append(gradient.sign().permute(0, 2, 3, 1).to(torch.int16).cpu().numpy())
        return np.concatenate(losses), np.concatenate(signs)

    def _batch(self, pixels: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Return this process's part of the mean loss, and a multiple of its gradient."""
        pixels.requires_grad_()
        if self._stacked is not None:
            with mixed_precision(self._device):
                logits = vmap(self._member, in_dims=(0, 0, None))(*self._stacked, pixels)
            # [S, N, K] -> [S, N]
            each = functional.cross_entropy(
                logits.float().flatten(0, 1), goal.repeat(len(self._pool)), reduction="none"
            ).view(len(self._pool), -1)
            # By the size of the whole pool: other processes add what their members lose.
            loss = each.sum(0) / self._size
            (gradient,) = torch.autograd.grad(loss.sum(), pixels)
            return loss.detach(), gradient
        total, gradient = added_up(
            self._pool,
            pixels,
            lambda logits: functional.cross_entropy(logits, goal, reduction="none"),
        )
        # Only the sign of the gradient is used, so that nobody divides it.
        return total / self._size, gradient

    def _member(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], pixels: Tensor
    ) -> Tensor:
        logits: Tensor = functional_call(self._pool[0], (parameters, buffers), (pixels,))
        return logits
