"""The wire format ``huggingface``: image classification of Inference Providers and Endpoints.

The image file is the body, or goes as base64 beside parameters; ``top_k`` is set to the number of
classes, since the default lists five. The answer is ``[{"label": ..., "score": ...}, ...]``.

Source: Hugging Face, Inference Providers, Image Classification; huggingface_hub 2.4.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import AskAgainError, WireAnswer, WireRequest
from adapters.payload.answer_rows import capability_of, row_of, wire_answer
from adapters.payload.image_encoding import MIME_TYPES, encode
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import dumps
from adapters.payload.open_server import post
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "https://router.huggingface.co/hf-inference/models/OWNER/MODEL"

[auth]
scheme = "Bearer"
env = "HF_TOKEN"               # the variable that holds the token, not the token

[request]
form = "json"                  # asks for all classes; "raw" gets the vendor's best five
# function_to_apply = "none"   # logits instead of probabilities, with kind = "logits"

[answer]
kind = "top_k"                 # "probabilities" or "logits" if all classes are listed
"""


class Request(FrozenModel):
    """How an image goes into the body."""

    form: Literal["json", "raw"] = "json"
    """``json`` carries the image in base64 with parameters; ``raw`` is the image file alone."""
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    """What the vendor does with the model's logits; the model's own habit if absent."""


class Answer(FrozenModel):
    """What the vendor's list is used for."""

    kind: Literal["top_k", "probabilities", "logits"] = "top_k"
    """``top_k``: the likeliest classes; the others need all K classes in the list."""


class Description(EndpointDescription):
    """An endpoint file with ``format = "huggingface"``."""

    format: Literal["huggingface"]
    request: Request = Request()
    answer: Answer = Answer()

    @model_validator(mode="after")
    def _fits(self) -> "Description":
        function, kind = self.request.function_to_apply, self.answer.kind
        if function is not None and self.request.form == "raw":
            raise ValueError("request.function_to_apply: expected none beside form = raw, got one")
        if (kind == "logits") != (function == "none") and kind != "top_k":
            raise ValueError(
                'answer.kind: expected logits with request.function_to_apply = "none", and only '
                f"then, got {kind}"
            )
        return self

    def wire_format(self, num_classes: int) -> "HuggingFaceFormat":
        """Return what encodes and decodes as the file says."""
        return HuggingFaceFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class HuggingFaceFormat:
    """One image per request, a list of labels with scores per answer."""

    description: Description
    num_classes: int
    batch_size: int = 1

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self.description.answer.kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[1, H, W, C]``."""
        wanted, request = self.description.image, self.description.request
        file = encode(images[0], wanted)
        if request.form == "raw":
            return post(self.description, file, MIME_TYPES[wanted.encoding])
        parameters: dict[str, int | str] = {"top_k": self.num_classes}
        if request.function_to_apply is not None:
            parameters["function_to_apply"] = request.function_to_apply
        document = {"inputs": base64.b64encode(file).decode(), "parameters": parameters}
        return post(self.description, dumps(document), "application/json")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the list."""
        document = read_json(body)
        if isinstance(document, list) and len(document) == 1 and isinstance(document[0], list):
            document = document[0]  # some endpoints answer one list per image
        if not isinstance(document, list):
            raise SuspectError(f"answer: expected a list of classes, got {excerpt(body)!r}")
        row = row_of(document) if all(isinstance(item, dict) for item in document) else document
        if not isinstance(row, Mapping) and row is not None:
            raise SuspectError(f"answer: expected labels with scores, got {excerpt(body)!r}")
        return wire_answer([row], self.description.answer.kind, self.num_classes)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """Return how long a model that is being loaded needs, where the vendor says it."""
        if status != 503:
            return None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return None
        needed_s = document.get("estimated_time") if isinstance(document, dict) else None
        if not isinstance(needed_s, int | float) or not 0 <= needed_s < 86400:
            return None
        reason = f"status 503 ({excerpt(body)})"
        return AskAgainError(reason, is_throttled=True, retry_after_s=float(needed_s))
