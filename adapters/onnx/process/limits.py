"""What a suspect's file may cost, and how its process is kept to that.

The file is a stranger's: the process that loads it (`adapters.onnx.process.worker`) calls `confine`
before it reads a byte of it. Limits that the system does not know are left out, the wall-clock
limit is the parent's and always holds.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class OnnxLimits:
    """Bounds on one suspect's file and process."""

    max_file_bytes: int = 2 * GIB - 1
    """Size of the ONNX file, bytes; protobuf ends at 2 GiB."""
    max_external_bytes: int = 8 * GIB
    """Size of all files with external data together, bytes."""
    max_nodes: int = 200_000
    """Nodes of the graph with its subgraphs and functions."""
    memory_bytes: int = 4 * GIB
    """Address space beyond four times the size of the files, bytes; not under CUDA."""
    start_timeout_s: float = 60.0
    """Wall-clock time for each step of loading the file, seconds."""
    predict_timeout_s: float = 120.0
    """Wall-clock time for one batch, seconds."""
    gpu_memory_bytes: int = 8 * GIB
    """Device memory that onnxruntime may take under CUDA, bytes."""

    def __post_init__(self) -> None:
        """Refuse limits that nothing can keep.

        Raises:
            ValueError: A limit is not positive.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}")


MEMORY_PER_FILE_BYTE = 4
"""Loading holds the file's bytes, the parsed model, its weights and their packed form."""


def confine(*, memory_bytes: int | None, max_memory_bytes: int | None, cut_network: bool) -> str:
    """Limit the calling process for the rest of its life.

    No file can grow (`RLIMIT_FSIZE` 0, so nothing can be written anywhere), no core is dumped,
    address space is bounded, and a network namespace without interfaces is entered where the
    system lets an ordinary user have one. Call it before any thread starts.

    Args:
        memory_bytes: Address space, bytes; None leaves it free.
        max_memory_bytes: What `limit_memory` may raise it to, bytes.
        cut_network: Whether to try to leave the network.

    Returns:
        ``none`` where the network is out of reach, ``shared`` where it could not be cut.
    """
    network = "shared"
    if cut_network and _leave_network():
        network = "none"
    try:
        import resource
    except ImportError:  # not on Windows
        return network
    _lower(resource.RLIMIT_CORE, 0, 0)
    # The protocol's pipes and its shared memory are no files that grow.
    _lower(resource.RLIMIT_FSIZE, 0, 0)
    if memory_bytes is not None:
        _lower(resource.RLIMIT_AS, memory_bytes, max_memory_bytes or memory_bytes)
    return network


def limit_memory(memory_bytes: int) -> None:
    """Set the address space of the calling process for good, within what `confine` allowed."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _lower(resource.RLIMIT_AS, memory_bytes, memory_bytes)


def allow_cpu_seconds(seconds: float) -> None:
    """Let the calling process use this much more CPU time before the system ends it.

    A second line behind the parent's wall clock: it also ends a process whose parent is gone.

    Args:
        seconds: CPU time of all threads together, seconds.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # The limit counts from the start of the process, and only the soft one moves, so that it can be
    # moved again for the next batch.
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def has_nvidia_device() -> bool:
    """Return whether the system shows an NVIDIA device (always False off Linux and Windows)."""
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32", "nvcuda.dll").exists()
    return Path("/dev/nvidiactl").exists()


def _lower(limit: int, soft: int, hard: int) -> None:
    import resource

    _, current = resource.getrlimit(limit)
    if current != resource.RLIM_INFINITY:
        # Nobody may set a hard limit above the one that we have ourselves.
        soft, hard = min(soft, current), min(hard, current)
    resource.setrlimit(limit, (soft, hard))


def _leave_network() -> bool:
    """Enter a user and a network namespace of our own; Linux only."""
    if not sys.platform.startswith("linux") or not hasattr(os, "getuid"):
        return False
    import ctypes

    # An ordinary user may leave the network only as the root of a user namespace of its own.
    clone_newuser, clone_newnet = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.unshare(clone_newuser | clone_newnet) == 0)
