"""Outputs of an Open Inference answer: JSON data, or bytes of the tail, into flat values.

Source: KServe, Open Inference Protocol V2, tensor data; Triton, Binary tensor data extension.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.endpoint.wire_format import AskAgainError
from adapters.suspect import SuspectError

_OUTPUT_DTYPES = {
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}
_MAX_VALUES = 1 << 24
"""Of one output; more is no answer of a classifier."""


@dataclass(frozen=True, kw_only=True)
class OutputTensor:
    """One output of an answer."""

    values: tuple[Any, ...]
    """Numbers or texts, flat."""
    shape: tuple[int, ...]

    def rows(self, num_images: int) -> list[list[Any]]:
        """Return the values of each image.

        Raises:
            SuspectError: The first axis is not the images.
        """
        # A model without a batch axis answers one image with its bare scores.
        is_bare = num_images == 1 and self.shape[:1] != (1,)
        if not is_bare and self.shape[:1] != (num_images,):
            found = self.shape[0] if self.shape else "a single value"
            raise SuspectError(f"answer: expected rows for {num_images} images, got {found}")
        if not self.values:
            raise SuspectError("answer: expected values in the output, got none")
        width = len(self.values) // num_images
        return [
            list(self.values[start : start + width]) for start in range(0, len(self.values), width)
        ]


def read_outputs(found: list[Any], tail: bytes) -> dict[str, OutputTensor]:
    """Return all outputs of an answer by name.

    Args:
        found: The answer's list ``outputs``.
        tail: Bytes after the JSON; binary outputs take theirs from it, in order.

    Raises:
        AskAgainError: The tail is cut short.
        SuspectError: Not what the protocol says.
    """
    outputs: dict[str, OutputTensor] = {}
    for tensor in found:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise SuspectError("answer: expected named outputs, got others")
        shape, name = tensor.get("shape"), tensor["name"]
        if not isinstance(shape, list) or not all(type(s) is int and s >= 0 for s in shape):
            raise SuspectError(f"answer: expected a shape of the output {name}, got another value")
        count = math.prod(shape)
        if count > _MAX_VALUES:
            raise SuspectError(f"answer: expected scores in the output {name}, got {count} values")
        parameters = tensor.get("parameters") or {}
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            values = _flat(tensor.get("data"))
        else:
            if type(size) is not int or size < 0:
                raise SuspectError("answer: expected a number as binary_data_size, got another")
            if size > len(tail):
                raise AskAgainError("a binary tail that is cut short")
            part, tail = tail[:size], tail[size:]
            values = _from_bytes(part, str(tensor.get("datatype")), name)
        if len(values) != count:
            raise SuspectError(
                f"answer: expected {count} values in the output {name} of shape {shape}, got "
                f"{len(values)}"
            )
        outputs[name] = OutputTensor(values=tuple(values), shape=tuple(shape))
    return outputs


def _flat(data: Any) -> list[Any]:
    """Return the elements of data that may be nested as deeply as its shape."""
    if not isinstance(data, list):
        raise SuspectError("answer: expected data in the output, got none")
    flat: list[Any] = []
    stack = [iter(data)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            flat.append(item)
        else:
            stack.pop()
    return flat


def _from_bytes(part: bytes, datatype: str, name: str) -> list[Any]:
    if datatype == "BYTES":
        return _texts(part)
    if datatype not in _OUTPUT_DTYPES:
        raise SuspectError(f"answer: expected numbers or texts in {name}, got {datatype}")
    dtype = np.dtype(_OUTPUT_DTYPES[datatype])
    if len(part) % dtype.itemsize:
        raise SuspectError(f"answer: expected whole {datatype} values in {name}, got a part of one")
    listed: list[Any] = np.frombuffer(part, dtype).tolist()
    return listed


def _texts(part: bytes) -> list[Any]:
    """Return texts out of 4-byte lengths, each with its bytes."""
    texts = []
    while part:
        length = int.from_bytes(part[:4], "little")
        if len(part) < 4 + length:
            raise SuspectError("answer: expected whole texts in the output, got a part of one")
        try:
            texts.append(part[4 : 4 + length].decode())
        except UnicodeDecodeError as error:
            raise SuspectError("answer: expected UTF-8 texts, got other bytes") from error
        part = part[4 + length :]
    return texts
