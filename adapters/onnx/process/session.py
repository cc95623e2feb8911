"""An onnxruntime session in the suspect's process, and one batch through it.

onnxruntime lists providers that it cannot start and falls back without a word; only the session
itself tells which it has, so that is what is checked and reported. Never registers a library of
custom operators.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from adapters import preprocessing
from adapters.extras import install_command
from adapters.onnx.process.limits import has_nvidia_device
from adapters.onnx.process.messages import ArrayDescription, LoadRequest, RunRequest
from adapters.onnx.process.pinned_memory import PinnedMemory, Place, unmoved
from adapters.onnx.process.shared_memory import ANSWER_BYTES
from adapters.onnx.process.text_outputs import as_numbers
from adapters.preprocessing import InputRecipe, Layout

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
LOG_FATAL_ONLY = 4

BATCHED: dict[Layout, Layout] = {"CHW": "NCHW", "HWC": "NHWC", "HW": "NHW"}
"""Layouts of one image, and the same with an axis for the images."""

Runner = Callable[[tuple[str, ...], str, NDArray[Any]], list[Any]]
"""Runs the session: names of outputs, name of the input, its tensor -> the outputs' values."""


@dataclass(kw_only=True)
class RunState:
    """What one run leaves for the next."""

    tensor: NDArray[Any] | None = None
    """Input tensor of the largest batch so far, to be written over."""
    place: Place = unmoved
    """Where a new input tensor goes."""
    max_batch: int | None = None
    """Images per run that fitted into memory, once a larger batch did not."""


class UnsupportedError(Exception):
    """This onnxruntime or machine cannot do what was asked."""


def create_session(path: Path, request: LoadRequest) -> onnxruntime.InferenceSession:
    """Load the file.

    Args:
        path: The private copy; external data lies beside it.
        request: Device, threads and memory.

    Raises:
        UnsupportedError: CUDA was asked for and is not to be had; says what is missing.
    """
    onnxruntime.set_default_logger_severity(LOG_FATAL_ONLY)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request.num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_FATAL_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=_providers(request))
    if request.device == "cuda" and CUDA not in session.get_providers():
        raise UnsupportedError(
            "device: expected cuda, but onnxruntime could not start its CUDA provider; it needs "
            f"CUDA 13 and cuDNN 9: {install_command('cuda')}, or use --device cpu"
        )
    return session


def runner_for(session: onnxruntime.InferenceSession) -> Runner:
    """Return how to run a session: bound to the device under CUDA, directly otherwise."""
    return bound_runner(session, "cuda") if CUDA in session.get_providers() else direct(session)


def state_for(session: onnxruntime.InferenceSession) -> RunState:
    """Return a fresh state: with its tensor in page-locked memory under CUDA, if there is any."""
    return RunState(place=PinnedMemory(CUDA) if CUDA in session.get_providers() else unmoved)


def direct(session: onnxruntime.InferenceSession) -> Runner:
    """Return a runner that hands tensors over as they are."""

    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        values: list[Any] = session.run(list(outputs) or None, {input_name: tensor})
        return values

    return run


def bound_runner(session: onnxruntime.InferenceSession, device: str) -> Runner:
    """Return a runner that keeps one input tensor on the device and refills it.

    Args:
        session: The model.
        device: ``cuda`` or ``cpu``.
    """
    held: dict[tuple[tuple[int, ...], str], Any] = {}

    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        key = (tensor.shape, tensor.dtype.str)
        if key in held:
            held[key].update_inplace(tensor)
        else:
            # One at a time: device memory is for the model.
            held.clear()
            held[key] = onnxruntime.OrtValue.ortvalue_from_numpy(tensor, device, 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input(input_name, held[key])
        for name in outputs or tuple(output.name for output in session.get_outputs()):
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        values: list[Any] = binding.copy_outputs_to_cpu()
        return values

    return run


def answer(
    run: Runner,
    output_names: tuple[str, ...],
    request: RunRequest,
    pixels: NDArray[np.uint8],
    state: RunState,
) -> tuple[list[ArrayDescription], list[NDArray[np.float64]], list[str]]:
    """Send one batch through the session.

    Args:
        run: The session's runner.
        output_names: All outputs of the session, in its order.
        request: What to do.
        pixels: uint8 ``[N, H, W, C]``.
        state: Kept from one batch to the next.

    Returns:
        Descriptions, values ``[N, ...]`` as float64, and the outputs that had to be left out.
    """
    wanted = request.outputs or output_names
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    layout = request.recipe.layout
    batched = replace(request.recipe, layout=BATCHED.get(layout, layout))
    tensor = _make_tensor(batched, pixels, state)
    start, batch = 0, min(request.batch, state.max_batch or request.batch)
    while start < len(tensor):
        rows = tensor[start : start + batch]
        num_rows = len(rows)
        if request.fixed_batch is not None and num_rows < request.fixed_batch:
            fill = np.repeat(rows[-1:], request.fixed_batch - num_rows, axis=0)
            rows = np.concatenate([rows, fill])
        try:
            values = run(
                request.outputs, request.input_name, rows[0] if layout in BATCHED else rows
            )
        except Exception as error:
            # Nothing is lost but this run: its rows come again in smaller ones.
            if batch > 1 and request.fixed_batch is None and is_out_of_memory(error):
                batch = state.max_batch = batch // 2
                continue
            raise
        for name, value in zip(wanted, values, strict=True):
            answered = _rows(value, len(rows), has_batch_axis=layout not in BATCHED)
            if name in parts and answered is not None:
                parts[name].append(answered[:num_rows])
            else:
                parts.pop(name, None)
        start += num_rows
    described: list[ArrayDescription] = []
    arrays: list[NDArray[np.float64]] = []
    room = ANSWER_BYTES
    for name, chunks in parts.items():
        if len({(chunk.shape[1:], chunk.dtype) for chunk in chunks}) != 1:
            continue
        numbers = as_numbers(np.concatenate(chunks))
        if numbers is None or numbers.values.nbytes > room:
            continue
        # Outputs lie one after the other in one region; what does not fit any more is left out.
        room -= numbers.values.nbytes
        arrays.append(numbers.values)
        described.append(
            ArrayDescription(
                name=name, dtype=numbers.dtype, shape=numbers.values.shape, names=numbers.names
            )
        )
    kept = {array.name for array in described}
    return described, arrays, [name for name in wanted if name not in kept]


def _make_tensor(recipe: InputRecipe, pixels: NDArray[np.uint8], state: RunState) -> NDArray[Any]:
    """Preprocess into the held tensor; a smaller batch takes the first rows of it."""
    held = state.tensor
    rows = None if held is None or len(held) < len(pixels) else held[: len(pixels)]
    tensor = preprocessing.apply(recipe, pixels, rows)
    if tensor is rows:
        return tensor
    state.tensor = state.place(tensor)
    return state.tensor


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text
        for sign in ("bad_alloc", "failed to allocate", "out of memory", "alloc_failed")
    )


def _rows(value: Any, num_images: int, has_batch_axis: bool) -> NDArray[Any] | None:
    """Return an output with one row per image, None if it has none."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        # A sequence of maps, as ZipMap makes it, or one map for one image.
        value = np.array([*value, None], dtype=object)[:-1]
    elif isinstance(value, dict):
        value = np.array([value, None], dtype=object)[:-1]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiubO":
        return None
    # The model knows no N, or has squeezed it away: [K], [1, K] or nothing at all -> [1, ...].
    is_squeezed = num_images == 1 and (value.ndim == 0 or value.shape[0] != 1) and value.ndim < 2
    if not has_batch_axis or is_squeezed:
        return value.reshape(1, -1)
    if value.ndim == 0 or value.shape[0] != num_images:
        return None
    return value


def _providers(request: LoadRequest) -> list[Any]:
    """Return the providers to ask for, all of them known to this onnxruntime."""
    if request.device == "cpu":
        return [CPU]
    if CUDA not in onnxruntime.get_available_providers():
        if request.device == "cuda":
            raise UnsupportedError(
                "device: expected cuda, but the installed onnxruntime has no CUDA provider; "
                f"{install_command('cuda')}, or use --device cpu"
            )
        return [CPU]
    if not has_nvidia_device():
        if request.device == "cuda":
            raise UnsupportedError(
                "device: expected cuda, but this machine shows no NVIDIA device "
                "(driver not loaded, or not passed to the container); use --device cpu"
            )
        return [CPU]
    # The libraries of the extra `cuda` are packages, where no system looks for libraries.
    onnxruntime.preload_dlls()
    # TF32 keeps 10 bits of a mantissa: answers would be others than those of a CPU.
    settings = {"gpu_mem_limit": str(request.gpu_memory_bytes), "use_tf32": "0"}
    return [(CUDA, settings), CPU]
