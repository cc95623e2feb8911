"""What happens inside the suspect's process, called directly."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from worlds.onnx_builders import brightest_channel, colors, save

from adapters.onnx.opening import check_one_runtime
from adapters.onnx.process.limits import has_nvidia_device
from adapters.onnx.process.messages import LoadRequest, RunRequest
from adapters.onnx.process.pinned_memory import PinnedMemory
from adapters.onnx.process.session import (
    CPU,
    CUDA,
    RunState,
    answer,
    bound_runner,
    create_session,
    direct,
    is_out_of_memory,
)
from adapters.preprocessing import InputRecipe
from adapters.suspect import SuspectConfigError

IMAGES = colors((255, 102, 0), (0, 51, 204), (51, 51, 255), (0, 255, 0))


def request(*, batch: int) -> RunRequest:
    return RunRequest(
        shape=(4, 8, 8, 3),
        input_name="image",
        recipe=InputRecipe(),
        outputs=("answer",),
        batch=batch,
        fixed_batch=None,
        timeout_s=1.0,
    )


@pytest.fixture
def session(tmp_path: Path) -> onnxruntime.InferenceSession:
    load = LoadRequest(
        device="cpu", num_threads=1, gpu_memory_bytes=1, memory_bytes=None, timeout_s=1.0
    )
    return create_session(save(brightest_channel(), tmp_path / "model.onnx"), load)


def test_a_bound_session_answers_like_a_direct_one(session: onnxruntime.InferenceSession) -> None:
    tensor = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    run = bound_runner(session, "cpu")
    for scale in (1, 2):  # the second time, the tensor on the device is written over
        bound = run(("answer",), "image", scale * tensor)[0]
        plain = direct(session)(("answer",), "image", scale * tensor)[0]
        np.testing.assert_array_equal(bound, plain)
    np.testing.assert_array_equal(
        run((), "image", tensor[:1])[0], direct(session)((), "image", tensor[:1])[0]
    )


def test_a_batch_that_does_not_fit_is_halved_from_then_on() -> None:
    sizes: list[int] = []

    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        sizes.append(len(tensor))
        if len(tensor) > 2:
            raise RuntimeError("CUDA failure 2: out of memory")
        return [tensor.mean(axis=(2, 3))]

    state = RunState()
    for _ in range(2):
        _, arrays, _ = answer(run, ("answer",), request(batch=4), IMAGES, state)
        np.testing.assert_allclose(arrays[0], IMAGES[:, 0, 0] / 255, atol=1e-6)
    assert sizes == [4, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "text",
    [
        "std::bad_alloc",
        "Failed to allocate memory for requested buffer of size 17179869184",
        "CUDA failure 2: out of memory",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_every_way_of_saying_that_memory_ran_out_is_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))


def test_a_tensor_is_placed_once_and_smaller_batches_take_its_first_rows() -> None:
    placed: list[NDArray[Any]] = []
    seen: list[NDArray[Any]] = []

    def place(tensor: NDArray[Any]) -> NDArray[Any]:
        placed.append(tensor.copy())
        return placed[-1]

    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        seen.append(tensor)
        return [tensor.mean(axis=(2, 3))]

    state = RunState(place=place)
    for num in (4, 2, 4, 1):
        _, arrays, _ = answer(run, ("answer",), request(batch=4), IMAGES[:num], state)
        np.testing.assert_allclose(arrays[0], IMAGES[:num, 0, 0] / 255, atol=1e-6)
    assert len(placed) == 1
    assert all(np.shares_memory(tensor, placed[0]) for tensor in seen)


@pytest.mark.parametrize("provider", [CPU, CUDA])
def test_where_no_memory_is_page_locked_the_tensor_stays_where_it_is(provider: str) -> None:
    if provider == CUDA and has_nvidia_device():
        pytest.skip("this machine may have page-locked memory")
    memory, tensor = PinnedMemory(provider), np.ones((2, 3, 8, 8), np.float32)
    assert memory(tensor) is tensor
    assert not memory.is_held


def test_other_failures_are_not_tried_again() -> None:
    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        answer(run, ("answer",), request(batch=4), IMAGES, RunState())


def test_outputs_without_a_row_per_image_are_left_out() -> None:
    def run(outputs: tuple[str, ...], input_name: str, tensor: NDArray[Any]) -> list[Any]:
        return [np.zeros((1, 3)), [{0: 0.5}], np.array(["cat"] * len(tensor)), np.float32(1)]

    names = ("fewer", "maps", "words", "scalar")
    wanted = request(batch=4)
    wanted = RunRequest(**{**vars(wanted), "outputs": ()})
    described, arrays, left_out = answer(run, names, wanted, IMAGES, RunState())
    assert (described, arrays, left_out) == ([], [], list(names))


def test_two_onnxruntime_packages_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    both = [Installed("onnxruntime"), Installed("onnxruntime-gpu"), Installed("numpy")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: both[1:])
    check_one_runtime()
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: both)
    with pytest.raises(SuspectConfigError, match="are both installed and share one folder"):
        check_one_runtime()
