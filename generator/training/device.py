"""Where and how tensors are computed: CPU or CUDA, speed against determinism, seeds."""

import ctypes
import hashlib
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from generator.errors import GenerationError

DeviceName = Literal["auto", "cpu", "cuda"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare_device(name: DeviceName) -> torch.device:
    """Choose the device and set the process up for it.

    CPU: deterministic algorithms, so that the same inputs and seed give the same bytes.
    CUDA: TF32 matrix products and tuned convolutions.

    Raises:
        GenerationError: CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise GenerationError(
            "device: expected a CUDA device, torch finds none; use --device cpu, or install a CUDA "
            "build of torch and its driver"
        )
    if name == "cpu" or not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        _keep_freed_memory()
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which CUDA computes in bfloat16; the CPU stays in float32."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def seeded(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator of its own for one purpose: adding a purpose moves no other's draws."""
    name = "/".join(map(str, (seed, *purpose)))
    # 56 bits fit into the signed 64 of a seed.
    value = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(value)


def _keep_freed_memory() -> None:
    """Ask glibc not to return activations to the system after every batch.

    Training allocates and frees the same megabytes over and over; page faults on fresh pages cost
    a quarter to a third of the time.
    """
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        except (OSError, AttributeError):  # another C library: slower, not wrong
            return
