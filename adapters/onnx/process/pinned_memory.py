"""Page-locked host memory for the input tensor under CUDA: the device fetches it by itself.

onnxruntime lends such memory where its CUDA provider registers a shared allocator for it
(``memory_info=`` of ``OrtValue.ortvalue_from_shape_and_type``); which builds do cannot be seen
without asking. Everywhere else ordinary memory does the same, only slower.
"""

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Place = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves a new input tensor to where it shall stay: the same array, or an equal one elsewhere."""


def unmoved(tensor: NDArray[Any]) -> NDArray[Any]:
    """Return the tensor as it is."""
    return tensor


class PinnedMemory:
    """Keeps the newest input tensor in page-locked memory; an instance is a `Place`.

    Args:
        provider: Execution provider that reads the tensor.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        # The array is a view: its memory lives as long as this value.
        self._value: Any = None

    @property
    def is_held(self) -> bool:
        """Return whether the newest tensor lies in page-locked memory."""
        return self._value is not None

    def __call__(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return an equal tensor in page-locked memory, or the same one where there is none."""
        try:
            self._value = _host_accessible(self._provider, tensor.shape, tensor.dtype)
            view = None if self._value is None else self._value.numpy()
        except Exception:  # other builds lack the call, or the allocator, and say so in many ways
            self._value, view = None, None
        if not _is_writable_like(view, tensor):
            self._value = None
            return tensor
        np.copyto(view, tensor)
        return view


def _host_accessible(provider: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return an OrtValue in memory that host and device see, None if the provider has none."""
    for device in onnxruntime.get_ep_devices():
        if device.ep_name == provider:
            memory = device.memory_info(onnxruntime.OrtDeviceMemoryType.HOST_ACCESSIBLE)
            if memory is not None:
                return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    list(shape), dtype.type, memory_info=memory
                )
    return None


def _is_writable_like(view: Any, tensor: NDArray[Any]) -> TypeGuard[NDArray[Any]]:
    return (
        isinstance(view, np.ndarray)
        and view.shape == tensor.shape
        and view.dtype == tensor.dtype
        and view.flags.c_contiguous
        and view.flags.writeable
    )
