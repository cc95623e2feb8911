"""How we and the function's process speak: a line of JSON, and the pixels after a request's.

The process runs code of the auditor's own, so that this guards against accidents only.
"""

import json
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapters.python.returned import Returned

MAX_LINE_BYTES = 1 << 28


def write_images(stream: BinaryIO, images: NDArray[np.uint8]) -> None:
    """Send a request: pixels ``[N, H, W, C]``."""
    stream.write(json.dumps({"shape": images.shape}).encode() + b"\n")
    stream.write(np.ascontiguousarray(images).tobytes())
    stream.flush()


def read_images(stream: BinaryIO) -> NDArray[np.uint8] | None:
    """Return the next request's pixels, which may be written to; None when there is none more."""
    line = stream.readline()
    if not line:
        return None
    shape = json.loads(line)["shape"]
    pixels = bytearray(stream.read(int(np.prod(shape))))
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def write_answer(stream: BinaryIO, answer: dict[str, Any]) -> None:
    """Send what there is to say."""
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


def returned_in(answer: dict[str, Any]) -> Returned:
    """Return what `returned_as` made a message of."""
    labels, scores = answer["labels"], answer["scores"]
    return Returned(
        labels=None if labels is None else tuple(labels),
        scores=None if scores is None else tuple(map(tuple, scores)),
    )


def returned_as(returned: Returned) -> dict[str, Any]:
    """Return an answer as it is sent."""
    return {"labels": returned.labels, "scores": returned.scores}
