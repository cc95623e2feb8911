"""The wire format ``triton_classification``: V2 with Triton's classification extension.

Triton is asked for the best ``classes`` entries of an output and says only these, as texts
``value:index[:label]``. What the values are is not said: they count as probabilities where they can
be some, as with every list of the likeliest classes.

Source: Triton Inference Server, Classification extension.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import Kind, named, wire_answer
from adapters.payload.open_inference import OpenInference, OpenInferenceDescription
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "http://127.0.0.1:8000/v2/models/MODEL/infer"

[request]
batch_size = 8                 # images in one request, at most the model's max_batch_size
# input = "input"              # what is left out is asked of the server
# datatype = "FP32"            # "BYTES" sends image files
# layout = "NCHW"              # axes of the input
binary = true                  # numbers as bytes after the JSON: smaller and exact

[request.tensor]
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
# output = "probs"             # which output, if there are several
classes = 5                    # how many of the best classes are asked for
label = "index"                # "name" if the model has a file of labels
"""


class Answer(FrozenModel):
    """Which output is ranked, and what of it is read."""

    output: Annotated[str, Field(min_length=1)] | None = None
    """Name of the output; needed if there are several."""
    classes: Annotated[int, Field(ge=1)] = 1
    """How many of the best classes are asked for."""
    label: Literal["index", "name"] = "index"
    """What a class is called: its index, or the text of the model's file of labels."""


class Description(OpenInferenceDescription):
    """An endpoint file with ``format = "triton_classification"``."""

    format: Literal["triton_classification"]
    answer: Answer = Answer()

    def wire_format(self, num_classes: int) -> "TritonClassificationFormat":
        """Return what encodes and decodes as the file says."""
        return TritonClassificationFormat(self, num_classes)


class TritonClassificationFormat(OpenInference):
    """Reads the best classes out of texts."""

    def __init__(self, description: Description, num_classes: int) -> None:
        """Prepare to ask for the best classes."""
        # Texts are short: they come as JSON, whatever way the image goes.
        parameters = {"classification": description.answer.classes, "binary_data": False}
        super().__init__(description, description.answer.output, parameters)
        self._answer, self._num_classes = description.answer, num_classes
        self._batch_size = description.request.batch_size

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self._batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return Capability.TOP_K if self._answer.classes > 1 else Capability.LABELS

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        return self.request_for(images)

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the best classes of each image."""
        inference = self.inference(body, headers)
        rows = [
            named([self._entry(text) for text in row]) for row in inference.output.rows(num_images)
        ]
        kind: Kind = "top_k" if self.capability is Capability.TOP_K else "auto"
        answer = wire_answer(rows, kind, self._num_classes, inference.metadata)
        return replace(answer, id=inference.id)

    def _entry(self, text: Any) -> tuple[str | int, float]:
        """Return label and value."""
        parts = text.split(":", 2) if isinstance(text, str) else []
        try:
            value, index = float(parts[0]), int(parts[1])
        except (ValueError, IndexError):
            value, index = math.nan, -1
        if index < 0 or not math.isfinite(value):
            raise SuspectError(
                f"answer: expected value:index[:label], got {text!r}; does the server know the "
                "classification extension?"
            )
        if self._answer.label == "index":
            return index, value
        if len(parts) < 3 or not parts[2]:
            raise SuspectError(
                f'answer.label: expected a name in {text!r}, got none; write label = "index"'
            )
        return parts[2], value
