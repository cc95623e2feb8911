"""Memory that an audit and a suspect's process share: pixels one way, answers the other.

On Linux an anonymous file that is sealed against resizing, so that a process which a hostile file
took over cannot shorten it under the reader's feet; elsewhere an ordinary file in the private
folder. Pages cost memory only once they are written.
"""

import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIXEL_BYTES = 128 << 20
"""Room for one batch of uint8 pixels, bytes."""

ANSWER_BYTES = 64 << 20
"""Room for one batch of float64 answers, bytes."""

_TOTAL_BYTES = PIXEL_BYTES + ANSWER_BYTES


class Exchange:
    """Both regions, mapped into this process."""

    def __init__(self, memory: mmap.mmap, handle: str, descriptor: int | None) -> None:
        self._memory = memory
        self.handle = handle
        """What `open_exchange` takes on the other side: ``fd:NUMBER`` or ``file:PATH``."""
        self.descriptor = descriptor
        """Descriptor that the child must inherit, if there is one."""

    def put_pixels(self, images: NDArray[np.uint8]) -> None:
        """Write a batch; it has at most `PIXEL_BYTES`."""
        np.frombuffer(self._memory, np.uint8, images.size)[:] = images.reshape(-1)

    def pixels(self, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Return the batch as a view, ``[N, H, W, C]``."""
        size = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._memory, np.uint8, size).reshape(tuple(shape))

    def put_answers(self, arrays: Sequence[NDArray[np.float64]]) -> None:
        """Write arrays one after the other; together they have at most `ANSWER_BYTES`."""
        start = PIXEL_BYTES
        for array in arrays:
            np.frombuffer(self._memory, np.float64, array.size, start)[:] = array.reshape(-1)
            start += array.nbytes

    def answers(self, shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float64]]:
        """Return copies of the arrays, which the other side can no longer change.

        Raises:
            ValueError: The shapes ask for more than there is room for.
        """
        arrays: list[NDArray[np.float64]] = []
        start = PIXEL_BYTES
        for shape in shapes:
            # In Python's own integers, which do not overflow: shapes are the other side's claim.
            size = 1
            for axis in shape:
                size *= axis
            if size < 0 or start + 8 * size > _TOTAL_BYTES:
                raise ValueError(f"answers: expected at most {ANSWER_BYTES} bytes, got {shape}")
            view = np.frombuffer(self._memory, np.float64, size, start)
            arrays.append(view.reshape(shape).copy())
            start += 8 * size
        return arrays

    def close(self) -> None:
        """Unmap; views of this memory must be gone."""
        self._memory.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def create_exchange(folder: Path) -> Exchange:
    """Make the shared memory.

    Args:
        folder: The suspect's private folder, for systems without anonymous files.
    """
    if sys.platform == "linux":
        import fcntl

        descriptor = os.memfd_create("suspect", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, _TOTAL_BYTES)
        # The last one seals the seals: the other side cannot forbid us to write.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        return Exchange(mmap.mmap(descriptor, _TOTAL_BYTES), f"fd:{descriptor}", descriptor)
    path = folder / "exchange.bin"
    with path.open("w+b") as file:
        file.truncate(_TOTAL_BYTES)
        return Exchange(mmap.mmap(file.fileno(), _TOTAL_BYTES), f"file:{path}", None)


def open_exchange(handle: str) -> Exchange:
    """Map the memory that `create_exchange` made in the parent."""
    kind, _, place = handle.partition(":")
    if kind == "fd":
        return Exchange(mmap.mmap(int(place), _TOTAL_BYTES), handle, int(place))
    with Path(place).open("r+b") as file:
        return Exchange(mmap.mmap(file.fileno(), _TOTAL_BYTES), handle, None)
