"""A stranger's ONNX model, loaded in a process of its own and ready to be run.

Joins the private copy, the shared memory and the process; knows nothing of classes or
probabilities (`adapters.onnx.trial` and `adapters.onnx.suspect` do).
"""

import contextlib
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.onnx.answers import Output
from adapters.onnx.private_copy import FileCopy, copy_external, copy_model
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import MEMORY_PER_FILE_BYTE, OnnxLimits, has_nvidia_device
from adapters.onnx.process.messages import (
    Answers,
    Compared,
    CompareRequest,
    DescribeRequest,
    Description,
    Loaded,
    LoadRequest,
    Ready,
    RunRequest,
)
from adapters.onnx.process.parent import WorkerProcess
from adapters.onnx.process.sandbox import Confinement
from adapters.onnx.process.shared_memory import PIXEL_BYTES, Exchange, create_exchange
from adapters.onnx.process.worker import WorkerSettings
from adapters.onnx.sandbox_check import refuse_partial
from adapters.preprocessing import InputRecipe
from adapters.suspect import SuspectError
from adapters.weights.packed_sketch import PackedSketch
from adapters.weights.similarities import LayerSimilarity, Similarities

Device = Literal["auto", "cpu", "cuda"]

COPY_NAME = "kinprint-suspect-copy.onnx"


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A loaded model; `close` ends its process and removes its copy."""

    name: str
    """Name of the original file."""
    copy: FileCopy
    external: dict[str, str]
    """SHA-256 of each file of external data, by location."""
    num_bytes: int
    """Size of the file with its external data."""
    description: Description
    loaded: Loaded
    limits: OnnxLimits
    confinement: Confinement
    """How its process is shut in."""
    process: WorkerProcess
    exchange: Exchange
    folder: Path
    """The private folder."""

    def run(
        self,
        images: NDArray[np.uint8],
        *,
        input_name: str,
        recipe: InputRecipe,
        outputs: tuple[str, ...] = (),
        batch: int,
        fixed_batch: int | None,
        timeout_s: float | None = None,
    ) -> list[Output]:
        """Send images through the model.

        Args:
            images: uint8 ``[N, H, W, C]``.
            input_name: Input that takes them.
            recipe: How they become its tensor.
            outputs: Names of the wanted outputs; empty for all.
            batch: Images per run of the session.
            fixed_batch: Batch that the file insists on.
            timeout_s: Time that it may take, seconds; what a batch may if None.

        Returns:
            The outputs that are numbers with one row per image, in the order asked for.

        Raises:
            SuspectError: The model failed, took too long, or a wanted output is not there.
        """
        if images.nbytes > PIXEL_BYTES:
            raise SuspectError(
                f"images: expected at most {PIXEL_BYTES:,} bytes a batch, got {images.nbytes:,}"
            )
        self.exchange.put_pixels(images)
        height, width, channels = images.shape[1:]
        timeout_s = timeout_s or self.limits.predict_timeout_s
        request = RunRequest(
            shape=(len(images), height, width, channels),
            input_name=input_name,
            recipe=recipe,
            outputs=outputs,
            batch=batch,
            fixed_batch=fixed_batch,
            timeout_s=timeout_s,
        )
        # From here on all is a stranger's word: names, rows and sizes are checked before any memory
        # is read by them.
        answers = self.process.ask(request, Answers, timeout_s=timeout_s)
        names = {array.name for array in answers.arrays}
        rows = {array.shape[:1] for array in answers.arrays}
        if not names.issuperset(outputs) or rows - {(len(images),)}:
            raise SuspectError(
                f"answers: expected one row for each of the {len(images)} images, "
                f"got none from {', '.join(sorted(set(outputs) - names)) or 'an output'}"
            )
        try:
            values = self.exchange.answers([array.shape for array in answers.arrays])
        except ValueError as error:
            raise SuspectError("answers: the suspect's process answered nonsense") from error
        operators = {output.name: output.operator for output in self.description.outputs}
        return [
            Output(
                name=array.name,
                dtype=array.dtype,
                operator=operators.get(array.name, ""),
                values=value,
                names=array.names,
            )
            for array, value in zip(answers.arrays, values, strict=True)
        ]

    def compare_weights(self, sketch: PackedSketch) -> Similarities:
        """Compare the file's weights with a sketch.

        Raises:
            SuspectError: They cannot be read within the limits, or the process answered nonsense.
        """
        data = sketch.numbers.tobytes() + sketch.ancestral.tobytes()
        self.exchange.put_pixels(np.frombuffer(data, np.uint8))
        timeout_s = self.limits.load_timeout_s(self.num_bytes)
        request = CompareRequest(
            seed=sketch.seed,
            heads=tuple(head.row for head in sketch.heads),
            has_ancestor=bool(sketch.ancestral.size),
            timeout_s=timeout_s,
        )
        found = self.process.ask(request, Compared, timeout_s=timeout_s)
        if len(found.layers) != len(sketch.heads):
            raise SuspectError("weights: the suspect's process answered nonsense")
        return Similarities(
            layers=tuple(
                LayerSimilarity(partner=partner, steps=steps, is_matched=is_matched)
                for partner, steps, is_matched in found.layers
            ),
            num_layers=found.num_layers,
            num_hidden=found.num_hidden,
            num_beyond=found.num_left_out,
        )

    @property
    def is_cuda(self) -> bool:
        """Return whether CUDA answers, which compiles for its device at first."""
        return "CUDAExecutionProvider" in self.loaded.providers

    def close(self) -> None:
        """End the process and remove the folder; harmless when done before."""
        _end(self.process, self.exchange, self.folder)


def load_model(
    path: Path,
    *,
    device: Device,
    limits: OnnxLimits,
    num_threads: int | None = None,
    server: ForkServer | None = None,
    named_folder: Path | None = None,
) -> OnnxModel:
    """Copy a file and load it in a new process.

    Args:
        path: The ONNX file.
        device: ``auto`` takes CUDA where the machine shows an NVIDIA device.
        limits: What the file may cost.
        num_threads: Threads that answer; all cores if None.
        server: Forks the process, which is quicker; not used where CUDA may be.
        named_folder: Folder that the user named, where the file was found in one: links of external
            data may end in it.

    Raises:
        SandboxError: `limits` ask for a full confinement, and there is none; nothing was parsed.
        SuspectConfigError: No ONNX file, or the device is not there.
        SuspectError: The file is refused, cannot be loaded, or costs more than it may.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="kinprint-"))
    except OSError as error:
        raise SuspectError(f"onnx: cannot make a private folder: {error}") from error
    exchange: Exchange | None = None
    process: WorkerProcess | None = None
    try:
        copy = copy_model(path, folder / COPY_NAME, max_bytes=limits.max_file_bytes)
        exchange = create_exchange(folder)
        num_threads = num_threads or num_cores()
        may_use_cuda = device != "cpu" and has_nvidia_device()

        def memory(external_bytes: int) -> int | None:
            # The driver of CUDA needs address space without bound (docs/suspects.md).
            if may_use_cuda:
                return None
            return limits.memory_bytes + MEMORY_PER_FILE_BYTE * (copy.num_bytes + external_bytes)

        # The soft limit is for the file alone. The hard one has room for external data, whose size
        # is known only when the process has parsed the file.
        process = WorkerProcess(
            WorkerSettings(
                model_path=str(copy.path),
                exchange=exchange.handle,
                memory_bytes=memory(0),
                max_memory_bytes=memory(limits.max_external_bytes),
                under_cuda=may_use_cuda,
                max_nodes=limits.max_nodes,
                start_timeout_s=limits.start_timeout_s,
                num_threads=num_threads,
            ),
            folder=folder,
            inherit=exchange.descriptor,
            server=None if may_use_cuda else server,
        )
        confinement = process.ask(None, Ready, timeout_s=limits.start_timeout_s).confinement
        if limits.require_sandbox:
            refuse_partial(confinement, under_cuda=may_use_cuda)
        # Parsed there, never here.
        timeout_s = limits.load_timeout_s(copy.num_bytes)
        description = process.ask(
            DescribeRequest(timeout_s=timeout_s), Description, timeout_s=timeout_s
        )
        external = _copy_external_files(description, path, folder, limits, named_folder)
        external_bytes = sum(file.num_bytes for file in external.values())
        timeout_s = (
            limits.start_timeout_s  # the driver compiles for its device
            if may_use_cuda
            else limits.load_timeout_s(copy.num_bytes + external_bytes)
        )
        request = LoadRequest(
            device=device,
            num_threads=num_threads,
            gpu_memory_bytes=limits.gpu_memory_bytes,
            memory_bytes=memory(external_bytes),
            timeout_s=timeout_s,
        )
        loaded = process.ask(request, Loaded, timeout_s=timeout_s)
    except OSError as error:
        _end(process, exchange, folder)
        raise SuspectError(f"onnx: cannot copy or start the suspect: {error}") from error
    except BaseException:
        _end(process, exchange, folder)
        raise
    model = OnnxModel(
        name=path.name,
        copy=copy,
        external={location: file.sha256 for location, file in external.items()},
        num_bytes=copy.num_bytes + external_bytes,
        description=description,
        loaded=loaded,
        limits=limits,
        confinement=confinement,
        process=process,
        exchange=exchange,
        folder=folder,
    )
    # Whoever forgets to close leaves neither a process nor a copy behind.
    weakref.finalize(model, _end, process, exchange, folder)
    return model


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _copy_external_files(
    description: Description,
    path: Path,
    folder: Path,
    limits: OnnxLimits,
    named_folder: Path | None,
) -> dict[str, FileCopy]:
    external: dict[str, FileCopy] = {}
    room = limits.max_external_bytes
    # One limit for all of them together: a file may name many.
    for location in description.external_files:
        external[location] = copy_external(
            location,
            model=path,
            target_folder=folder,
            max_bytes=room,
            named_folder=named_folder,
        )
        room -= external[location].num_bytes
    return external


def _end(process: WorkerProcess | None, exchange: Exchange | None, folder: Path) -> None:
    if process is not None:
        process.end()
    if exchange is not None:
        # A view that somebody still holds keeps the mapping until it goes itself.
        with contextlib.suppress(BufferError, ValueError):
            exchange.close()
    shutil.rmtree(folder, ignore_errors=True)
