"""The wire format ``torchserve``: ``POST /predictions/{model}[/{version}]``.

The default image handler takes the image file, as the body or in the form field ``data``, and
lists its best five classes as ``{"class": probability}``. A server with ``service_envelope=kserve``
takes ``{"instances": [{"data": "<base64>"}]}``; write ``form = "json"`` with ``field = "data"``.

Source: PyTorch Serve, Inference API and Request Envelopes.
"""

from collections.abc import Mapping
from typing import Any, Literal

from adapters.payload.answer_rows import Kind
from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, OpenServerFormat, RowsAnswer
from adapters.printable import excerpt
from adapters.suspect import SuspectError

TEMPLATE = """\
url = "http://127.0.0.1:8080/predictions/MODEL"

# [auth]                       # where the server checks tokens
# scheme = "Bearer"
# env = "TORCHSERVE_TOKEN"     # the variable that holds the token, not the token

[request]
form = "raw"                   # the image file is the body; "multipart" puts it into a form

[answer]
kind = "top_k"                 # "probabilities" if all classes are listed, "labels" for one label
"""


class Request(ImageRequest):
    """How an image goes into the body."""

    form: Literal["json", "raw", "multipart"] = "raw"
    image: Literal["tensor", "base64", "b64"] = "base64"


class Answer(RowsAnswer):
    """Where rows are found; the envelope's are under ``predictions``."""

    path: str = "@"
    kind: Kind = "top_k"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "torchserve"``."""

    format: Literal["torchserve"]
    request: Request = Request()
    answer: Answer = Answer()

    def wire_format(self, num_classes: int) -> "TorchServeFormat":
        """Return what encodes and decodes as the file says."""
        return TorchServeFormat(description=self, num_classes=num_classes)


class TorchServeFormat(OpenServerFormat):
    """Knows the form of the server's errors."""

    def refuse(self, document: Any, headers: Mapping[str, str], body: bytes) -> None:
        """Raise where a gateway has made a success of ``{"code", "type", "message"}``."""
        if isinstance(document, dict) and isinstance(document.get("message"), str):
            raise SuspectError(f"answer: expected classes, got an error: {excerpt(body)!r}")
