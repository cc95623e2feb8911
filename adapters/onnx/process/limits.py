"""What a suspect's file may cost, and how its process is kept to that.

The file is a stranger's: the process that loads it (`adapters.onnx.process.worker`) sets these
before it reads a byte of it, with all else that shuts it in (`adapters.onnx.process.sandbox`).
Limits that the system does not know are left out, the wall-clock limit is the parent's and always
holds.
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
    require_sandbox: bool = False
    """Parse nothing unless the process is shut in fully (`adapters.onnx.process.sandbox`)."""

    def __post_init__(self) -> None:
        """Refuse limits that nothing can keep.

        Raises:
            ValueError: A limit is not positive.
        """
        for name, value in vars(self).items():
            if not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{name}: expected a positive number, got {value}")

    def load_timeout_s(self, num_bytes: int) -> float:
        """Return how long parsing a file or loading it may take, seconds.

        Args:
            num_bytes: Size of the file with its external data.
        """
        return min(self.start_timeout_s, MIN_LOAD_S + num_bytes / LOADED_BYTES_PER_S)

    def first_timeout_s(self, num_bytes: int, num_images: int) -> float:
        """Return how long a question about a few made-up images may take, seconds.

        Args:
            num_bytes: Size of the file with its external data.
            num_images: Images of the question, filled up to a run's.
        """
        seconds = MIN_FIRST_S + num_bytes / ASKED_BYTES_PER_S + num_images / IMAGES_PER_S
        return min(self.predict_timeout_s, seconds)


MEMORY_PER_FILE_BYTE = 4
"""Loading holds the file's bytes, the parsed model, its weights and their packed form."""
MIN_LOAD_S, LOADED_BYTES_PER_S = 15.0, 20e6
"""A file of 1.4 GB was copied, parsed and loaded in 21 s on two busy cores."""
MIN_FIRST_S, ASKED_BYTES_PER_S, IMAGES_PER_S = 30.0, 10e6, 2.0
"""Two images of 160 GFLOP each, seven times a ResNet-152's, took 9 s on two busy cores."""


def limit_resources(memory_bytes: int | None, max_memory_bytes: int | None) -> bool:
    """Limit what the calling process takes for the rest of its life.

    No file can grow (`RLIMIT_FSIZE` 0), no core is dumped and address space is bounded.

    Args:
        memory_bytes: Address space, bytes; None leaves it free.
        max_memory_bytes: What `limit_memory` may raise it to, bytes.

    Returns:
        False where the system knows no such limits.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return False
    _lower(resource.RLIMIT_CORE, 0, 0)
    # The protocol's pipes and its shared memory are no files that grow.
    _lower(resource.RLIMIT_FSIZE, 0, 0)
    if memory_bytes is not None:
        _lower(resource.RLIMIT_AS, memory_bytes, max_memory_bytes or memory_bytes)
    return True


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
