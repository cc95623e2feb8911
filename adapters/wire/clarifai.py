"""The wire format ``clarifai``: ``POST .../models/{model}[/versions/{v}]/outputs``, API v2.

Up to 128 images go into one request. Errors come with a status of their own in the answer, also
where HTTP says success: 10000 is one, 11005 and 10030 mean "later", everything else fails. An
answer lists the best concepts; as many as there are classes are asked for.

Source: Clarifai, API Guide, Predict and Prediction Parameters; Status Codes.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import AskAgainError, WireAnswer, WireRequest
from adapters.payload.answer_rows import Row, capability_of, named, wire_answer
from adapters.payload.image_encoding import encode
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import dumps
from adapters.payload.named_answer import NamedAnswer
from adapters.payload.open_server import metadata, post
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectError

_SUCCESS, _MIXED = 10000, 10010
_LATER = frozenset({10030, 11003, 11005})
"""Try again, hourly limit, throttled."""
_MAX_CONCEPTS = 200
"""More cannot be asked for."""

TEMPLATE = """\
url = "https://api.clarifai.com/v2/users/USER/apps/APP/models/MODEL/versions/VERSION/outputs"
requests_per_second = 10       # the vendor throttles above 15

[auth]
scheme = "Key"
env = "CLARIFAI_PAT"           # the variable that holds the token, not the token

[request]
batch_size = 32                # images in one request, at most 128

[answer]
label = "name"                 # what a class is called: "name" or "id" of the concept
kind = "top_k"                 # "probabilities" if all classes are listed and add up to 1
"""


class Request(FrozenModel):
    """How many images are asked at once."""

    batch_size: Annotated[int, Field(ge=1, le=128)] = 1


class Answer(NamedAnswer):
    """What the vendor's list is used for."""

    label: Literal["name", "id"] = "name"
    """What a class is called."""


class Description(EndpointDescription):
    """An endpoint file with ``format = "clarifai"``."""

    format: Literal["clarifai"]
    request: Request = Request()
    answer: Answer = Answer()

    @field_validator("url")
    @classmethod
    def _predicts(cls, url: str) -> str:
        if not url.partition("?")[0].endswith("/outputs"):
            raise ValueError("expected an address that ends in /outputs")
        return url

    def wire_format(self, num_classes: int) -> "ClarifaiFormat":
        """Return what encodes and decodes as the file says."""
        return ClarifaiFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class ClarifaiFormat:
    """Several images per request, concepts with values per image."""

    description: Description
    num_classes: int

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self.description.request.batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self.description.answer.kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        files = [encode(image, self.description.image) for image in images]
        texts = [base64.b64encode(file).decode() for file in files]
        config = {"max_concepts": min(self.num_classes, _MAX_CONCEPTS)}
        document = {
            "inputs": [{"data": {"image": {"base64": text}}} for text in texts],
            "model": {"output_info": {"output_config": config}},
        }
        return post(self.description, dumps(document), "application/json")

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the concepts of each image."""
        document = read_json(body)
        _check_status(document, body, allowed=(_SUCCESS, _MIXED))
        outputs = document.get("outputs")
        if not isinstance(outputs, list) or len(outputs) != num_images:
            found = len(outputs) if isinstance(outputs, list) else "none"
            raise SuspectError(f"answer: expected {num_images} outputs, one per image, got {found}")
        rows = [self._row(output, body) for output in outputs]
        told = metadata(
            {
                "model_id": "outputs[0].model.id",
                "model_version_id": "outputs[0].model.model_version.id",
            },
            document,
        )
        return wire_answer(rows, self.description.answer.kind, self.num_classes, told)

    def _row(self, output: Any, body: bytes) -> Row:
        _check_status(output, body, allowed=(_SUCCESS,))
        data = output.get("data")
        concepts = data.get("concepts", []) if isinstance(data, dict) else None
        if not isinstance(concepts, list) or not all(isinstance(each, dict) for each in concepts):
            raise SuspectError(f"answer: expected concepts, got {excerpt(body)!r}")
        key = self.description.answer.label
        return named([(each.get(key), each.get("value")) for each in concepts]) or None


def _check_status(part: Any, body: bytes, *, allowed: tuple[int, ...]) -> None:
    """Refuse an answer, or a part of one, whose own status is not one of success."""
    status = part.get("status") if isinstance(part, dict) else None
    code = status.get("code") if isinstance(status, dict) else None
    if code in allowed:
        return
    if isinstance(code, int) and code in _LATER:
        raise AskAgainError(f"status.code {code}", is_throttled=True)
    raise SuspectError(
        f"answer.status.code: expected {_SUCCESS}, got {code if type(code) is int else 'none'} in "
        f"{excerpt(body)!r}"
    )
