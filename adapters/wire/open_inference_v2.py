"""The wire format ``open_inference_v2``: ``POST /v2/models/{model}[/versions/{v}]/infer``.

Spoken by Triton, MLServer, KServe, Seldon and OpenVINO Model Server
(`adapters.payload.open_inference`). An output of integers or texts with one element per image is a
label; one with K numbers per image is scores.

Source: KServe, Open Inference Protocol V2, HTTP/REST.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import capability_of, row_of, wire_answer
from adapters.payload.open_inference import OpenInference, OpenInferenceDescription
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability

TEMPLATE = """\
url = "http://127.0.0.1:8000/v2/models/MODEL/infer"

[request]
batch_size = 8                 # images in one request, at most what the model takes
# input = "input"              # what is left out is asked of the server
# datatype = "FP32"            # "BYTES" sends image files
# layout = "NCHW"              # axes of the input
binary = false                 # true for Triton and KServe: numbers as bytes after the JSON

[request.tensor]
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
# output = "probs"             # which output, if there are several
kind = "auto"                  # "probabilities" or "logits" if that is what the output holds
"""


class Answer(FrozenModel):
    """Which output says what."""

    output: Annotated[str, Field(min_length=1)] | None = None
    """Name of the output; needed if there are several."""
    kind: Literal["auto", "labels", "probabilities", "logits"] = "auto"
    """What it holds; ``auto`` takes a label, or the index of the largest number."""


class Description(OpenInferenceDescription):
    """An endpoint file with ``format = "open_inference_v2"``."""

    format: Literal["open_inference_v2"]
    answer: Answer = Answer()

    def wire_format(self, num_classes: int) -> "OpenInferenceFormat":
        """Return what encodes and decodes as the file says."""
        return OpenInferenceFormat(self, num_classes)


class OpenInferenceFormat(OpenInference):
    """Reads labels or scores out of one output."""

    def __init__(self, description: Description, num_classes: int) -> None:
        """Prepare for a model of K classes."""
        super().__init__(description, description.answer.output)
        self._num_classes = num_classes
        self._kind = description.answer.kind
        self._batch_size = description.request.batch_size

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self._batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self._kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        return self.request_for(images)

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read one row per image."""
        inference = self.inference(body, headers)
        rows = [row_of(row) for row in inference.output.rows(num_images)]
        answer = wire_answer(rows, self._kind, self._num_classes, inference.metadata)
        return dataclasses.replace(answer, id=inference.id)
