"""The wire format ``roboflow``: ``POST https://classify.roboflow.com/{project}/{version}``.

The body is the image file in base64 and nothing else. The key goes into a header, not into the
address. Single-label models list ``{"class", "confidence"}``, multi-label ones an object by class.

Source: Roboflow, Serverless hosted API, Classification.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import capability_of, named, wire_answer
from adapters.payload.image_encoding import encode
from adapters.payload.json_answer import read_json
from adapters.payload.named_answer import NamedAnswer
from adapters.payload.open_server import post
from adapters.printable import excerpt
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "https://classify.roboflow.com/PROJECT/VERSION"

[auth]
scheme = "Bearer"
env = "ROBOFLOW_KEY"           # the variable that holds the key, not the key

[answer]
kind = "top_k"                 # "probabilities" if all classes are listed and add up to 1
"""


class Description(EndpointDescription):
    """An endpoint file with ``format = "roboflow"``."""

    format: Literal["roboflow"]
    answer: NamedAnswer = NamedAnswer()

    def wire_format(self, num_classes: int) -> "RoboflowFormat":
        """Return what encodes and decodes as the file says."""
        return RoboflowFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class RoboflowFormat:
    """One image per request, classes with confidences per answer."""

    description: Description
    num_classes: int
    batch_size: int = 1

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self.description.answer.kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[1, H, W, C]``."""
        file = encode(images[0], self.description.image)
        return post(self.description, base64.b64encode(file), "application/x-www-form-urlencoded")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the classes; none at all is a refusal."""
        document = read_json(body)
        found = document.get("predictions") if isinstance(document, dict) else None
        row = named(_pairs(found, body)) or None
        return wire_answer([row], self.description.answer.kind, self.num_classes)


def _pairs(found: Any, body: bytes) -> list[tuple[Any, Any]]:
    match found:
        case list() if all(isinstance(item, dict) for item in found):
            return [(item.get("class"), item.get("confidence")) for item in found]
        case dict() if all(isinstance(item, dict) for item in found.values()):
            return [(name, item.get("confidence")) for name, item in found.items()]
    raise SuspectError(f"answer: expected predictions, got {excerpt(body)!r}")
