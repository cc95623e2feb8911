"""The wire format ``litserve``: ``POST /predict`` of a LitServe server.

The document is what ``decode_request`` reads, the answer what ``encode_response`` returns; the
defaults are those of the project's examples, ``{"input": ...}`` and ``{"output": ...}``.

Source: LitServe, Predict endpoint and Authentication (``X-API-Key``).
"""

from typing import Literal

from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, RowsAnswer

TEMPLATE = """\
url = "http://127.0.0.1:8000/predict"

# [auth]                       # where the server was started with LIT_SERVER_API_KEY
# header = "X-API-Key"
# env = "LITSERVE_KEY"         # the variable that holds the key, not the key

[request]
key = "input"                  # what decode_request reads
image = "tensor"               # nested numbers; "base64" sends the image file
single = true                  # the image itself, not a list of one

[request.tensor]
layout = "NCHW"                # or "NHWC"
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
path = "output"                # JMESPath to what encode_response says about the image
kind = "auto"                  # "probabilities" or "logits" if that is what it is
"""


class Request(ImageRequest):
    """How images go into the document."""

    form: Literal["json", "multipart"] = "json"
    part: str = "request"
    key: str = "input"
    single: bool = True


class Answer(RowsAnswer):
    """Where rows are found."""

    path: str = "output"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "litserve"``."""

    format: Literal["litserve"]
    request: Request = Request()
    answer: Answer = Answer()
