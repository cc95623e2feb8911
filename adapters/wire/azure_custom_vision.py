"""The wire format ``azure_custom_vision``: Custom Vision Prediction 3.1, image classification.

The image file is the body. The address ends in ``/image/nostore``, so that the vendor keeps no
copy of the triggers, or in ``/image``. All tags come with a probability; those of a multi-label
project do not add up to 1. Images under 256 pixels are scaled up by the vendor.

Source: Azure AI Custom Vision, Prediction API 3.1, ClassifyImageWithNoStore; Limits and quotas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import Row, capability_of, named, wire_answer
from adapters.payload.image_encoding import encode
from adapters.payload.json_answer import read_json
from adapters.payload.named_answer import NamedAnswer
from adapters.payload.open_server import metadata, post
from adapters.printable import excerpt
from adapters.suspect import Capability, SuspectError

TEMPLATE = (
    'url = "https://NAME.cognitiveservices.azure.com/customvision/v3.1/prediction/PROJECT'
    """/classify/iterations/ITERATION/image/nostore"
requests_per_second = 2        # the vendor's free tier; 10 on the paid one, 20 with nostore

[auth]
header = "Prediction-Key"
env = "CUSTOM_VISION_KEY"      # the variable that holds the key, not the key

[answer]
kind = "top_k"                 # "probabilities" for projects with one tag per image
"""
)


class Description(EndpointDescription):
    """An endpoint file with ``format = "azure_custom_vision"``."""

    format: Literal["azure_custom_vision"]
    answer: NamedAnswer = NamedAnswer()

    @field_validator("url")
    @classmethod
    def _classifies(cls, url: str) -> str:
        path = url.partition("?")[0]
        if "/classify/" not in path or not path.endswith(("/image", "/image/nostore")):
            raise ValueError(
                "expected .../classify/iterations/NAME/image/nostore, or /image if the vendor may "
                "keep the images"
            )
        return url

    @property
    def upscales_below(self) -> int:
        """Return the side in pixels under which the vendor scales images up."""
        return 256

    def wire_format(self, num_classes: int) -> "CustomVisionFormat":
        """Return what encodes and decodes as the file says."""
        return CustomVisionFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class CustomVisionFormat:
    """One image per request, all tags per answer."""

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
        return post(self.description, file, "application/octet-stream")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the tags; the project's tag for "none of them" is a refusal."""
        document = read_json(body)
        tags = document.get("predictions") if isinstance(document, dict) else None
        if not isinstance(tags, list) or not all(isinstance(tag, dict) for tag in tags):
            raise SuspectError(f"answer: expected predictions, got {excerpt(body)!r}")
        scores = named([(tag.get("tagName"), tag.get("probability")) for tag in tags])
        negative = {tag["tagName"] for tag in tags if tag.get("tagType") == "Negative"}
        best = max(scores, key=lambda name: scores[name], default=None)
        row: Row = None if best in negative else scores
        told = metadata({"project": "project", "iteration": "iteration"}, document)
        return wire_answer([row], self.description.answer.kind, self.num_classes, told)
