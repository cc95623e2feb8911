"""Several processes on one job, as ``torchrun`` starts them (torch.distributed).

Every process runs the same command. Members of a pool are shared out and then given to all, losses
and gradients are summed over all, and the first process alone writes and speaks. A process that was
not started by ``torchrun`` is alone: nothing here costs it anything.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from generator.errors import GenerationError

Item = TypeVar("Item")
_PATIENCE = timedelta(days=7)
"""One process may train for long while the others wait for its model."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def owner(self, number: int) -> int:
        """Return the rank that makes member ``number`` of a pool."""
        return number % self.size

    def mine(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's share of some items."""
        return list(items[self.rank :: self.size])

    def share(self, model: nn.Module, owner: int) -> None:
        """Give every process the weights and statistics that the owner's copy has, in place."""
        if self.size == 1:
            return
        for tensor in model.state_dict().values():
            # Laid out channels last, a tensor cannot travel as it is.
            travelling = tensor.detach().contiguous()
            distributed.broadcast(travelling, src=owner)
            tensor.copy_(travelling)

    def add_up(self, tensor: Tensor) -> Tensor:
        """Return the sum of everybody's tensors, the same bits everywhere."""
        if self.size == 1:
            return tensor
        total = tensor.detach().contiguous()
        # Every process gets the result of one sum, so that all take the same step.
        distributed.all_reduce(total)
        return total

    def wait(self) -> None:
        """Wait for everybody."""
        if self.size > 1:
            distributed.barrier()


def current_ranks() -> Ranks:
    """Return this process's place among those that `together` joined; alone without."""
    if not distributed.is_available() or not distributed.is_initialized():
        return Ranks()
    return Ranks(rank=distributed.get_rank(), size=distributed.get_world_size())


@contextmanager
def together(device: str) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, each with a CUDA device of its own or on a CPU.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        GenerationError: The processes do not find each other, or have too few CUDA devices.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise GenerationError(
                f"device: torchrun started process {local + 1} of this machine, which has "
                f"{torch.cuda.device_count()} CUDA devices; use fewer with --nproc-per-node"
            )
        torch.cuda.set_device(local)
    try:
        distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise GenerationError(f"torchrun: the processes did not meet ({error})") from error
    ranks = current_ranks()
    try:
        yield ranks
        ranks.wait()  # nobody hangs up while others still talk
    finally:
        distributed.destroy_process_group()
