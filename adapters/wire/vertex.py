"""The wire format ``vertex``: ``:predict`` of a Google Vertex AI endpoint.

An AutoML image model takes ``{"content": "<base64>", "mimeType": ...}`` per image and lists
``displayNames`` with ``confidences``. A custom container takes and gives what its author wrote:
set ``image``, ``field``, ``extra`` and, under ``[answer]``, ``name`` and ``kind``.

Source: Vertex AI, REST, projects.locations.endpoints.predict; image classification prediction
schema (``confidenceThreshold``, ``maxPredictions``).
"""

from typing import Any, Literal

from pydantic import Field, field_validator

from adapters.payload.answer_rows import Kind, Row, named, row_of
from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, OpenServerFormat, RowsAnswer
from adapters.suspect import SuspectError

TEMPLATE = """\
url = "https://REGION-aiplatform.googleapis.com/v1/projects/P/locations/REGION/endpoints/E:predict"

[auth]
scheme = "Bearer"
env = "VERTEX_TOKEN"           # such as from: gcloud auth print-access-token (lasts an hour)

[request]
batch_size = 1                 # images in one request
# image = "tensor"             # for a custom container: numbers instead of the image file,
# field = "input"              # ... the name of its input,
# extra = {}                   # ... and no AutoML parameters

[answer]
kind = "top_k"                 # "probabilities" if all classes are listed and add up to 1
"""

_CONTENT = "content"
_AUTOML = {"parameters": {"confidenceThreshold": 0.0, "maxPredictions": 1000}}
"""Without them the vendor leaves out classes below its own threshold."""


class Request(ImageRequest):
    """How images go into the document."""

    form: Literal["json"] = "json"
    key: Literal["instances"] = "instances"
    image: Literal["tensor", "base64", "b64"] = "base64"
    field: str | None = _CONTENT
    extra: dict[str, Any] = Field(default_factory=lambda: dict(_AUTOML))

    def row(self, value: Any, mime_type: str) -> Any:
        """Return one instance; AutoML wants the kind of file beside it."""
        row = super().row(value, mime_type)
        if self.field == _CONTENT and self.image == "base64":
            row["mimeType"] = mime_type
        return row


class Answer(RowsAnswer):
    """Where rows are found."""

    path: str = "predictions"
    kind: Kind = "top_k"
    metadata: dict[str, str] = Field(
        default_factory=lambda: {
            "deployed_model_id": "deployedModelId",
            "model": "model",
            "model_version_id": "modelVersionId",
            "model_display_name": "modelDisplayName",
        }
    )


class Description(OpenServerDescription):
    """An endpoint file with ``format = "vertex"``."""

    format: Literal["vertex"]
    request: Request = Request()
    answer: Answer = Answer()

    @field_validator("url")
    @classmethod
    def _predicts(cls, url: str) -> str:
        if not url.partition("?")[0].endswith(":predict"):
            raise ValueError("expected an address that ends in :predict")
        return url

    def wire_format(self, num_classes: int) -> "VertexFormat":
        """Return what encodes and decodes as the file says."""
        return VertexFormat(description=self, num_classes=num_classes)


class VertexFormat(OpenServerFormat):
    """Knows AutoML's two lists."""

    def row(self, part: Any) -> Row:
        """Read ``displayNames`` and ``confidences``, or what a custom container says."""
        if not isinstance(part, dict) or "displayNames" not in part:
            return super().row(part)
        names, confidences = part["displayNames"], part.get("confidences")
        if not isinstance(names, list) or not isinstance(confidences, list):
            raise SuspectError("answer: expected lists displayNames and confidences, got others")
        if len(names) != len(confidences):
            raise SuspectError(
                f"answer: expected {len(names)} confidences, one per name, got {len(confidences)}"
            )
        return named(list(zip(names, confidences, strict=True))) if names else row_of(None)
