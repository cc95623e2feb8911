"""Whether suspects' processes are shut in as far as a user wants it: a file's, and any at all."""

import tempfile
from pathlib import Path
from typing import Literal

from adapters.onnx.process.limits import OnnxLimits, has_nvidia_device
from adapters.onnx.process.messages import Ready
from adapters.onnx.process.parent import WorkerProcess
from adapters.onnx.process.sandbox import Confinement
from adapters.onnx.process.shared_memory import create_exchange
from adapters.onnx.process.worker import WorkerSettings
from adapters.suspect import SuspectConfigError


class SandboxError(SuspectConfigError):
    """This system cannot shut a suspect's process in as far as the user wants it."""


def refuse_partial(confinement: Confinement, *, under_cuda: bool) -> None:
    """Return if a confinement is full.

    Args:
        confinement: What a process says that is in force.
        under_cuda: Whether it is one that may use CUDA.

    Raises:
        SandboxError: Something is missing; says what.
    """
    if not confinement.missing:
        return
    advice = (
        "use --device cpu"
        if under_cuda
        else "use Linux 5.13 or newer on x86_64 or aarch64 with Landlock, or allow user namespaces"
    )
    raise SandboxError(
        "sandbox: expected to shut the suspect's process in fully, got "
        f"{confinement.text}; {advice}, or leave out --require-sandbox"
    )


def require_full_sandbox(device: Literal["auto", "cpu", "cuda"]) -> None:
    """Return if suspects' processes can be shut in fully here, found out by one without a file.

    Args:
        device: What they would run on.

    Raises:
        SandboxError: They cannot; says what is missing.
    """
    under_cuda = device != "cpu" and has_nvidia_device()
    refuse_partial(_tried(under_cuda=under_cuda), under_cuda=under_cuda)


def _tried(*, under_cuda: bool) -> Confinement:
    limits = OnnxLimits()
    with tempfile.TemporaryDirectory(prefix="kinprint-") as name:
        folder = Path(name)
        exchange = create_exchange(folder)
        process = WorkerProcess(
            WorkerSettings(
                model_path=str(folder / "none.onnx"),
                exchange=exchange.handle,
                memory_bytes=None if under_cuda else limits.memory_bytes,
                max_memory_bytes=None,
                under_cuda=under_cuda,
                max_nodes=1,
                start_timeout_s=limits.start_timeout_s,
                num_threads=1,
            ),
            folder=folder,
            inherit=exchange.descriptor,
        )
        try:
            ready = process.ask(None, Ready, timeout_s=limits.start_timeout_s)
        finally:
            process.end()
            exchange.close()
    return ready.confinement
