"""The wire format ``bentoml``: ``POST /{method}`` of a BentoML service.

A parameter of type image or file takes a form whose field has the parameter's name; any other one
takes a JSON document with that name. The answer is what the method returns.

Source: BentoML 1.4, Input and output types; HTTP clients.
"""

from typing import Literal

from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription

TEMPLATE = """\
url = "http://127.0.0.1:3000/classify"   # the method's name is the path

[request]
form = "multipart"             # for an image parameter; "json" for arrays
part = "image"                 # the parameter's name
# key = "x"                    # ... its name with form = "json"
# batch_size = 16              # ... and images in one request

[answer]
path = "@"                     # JMESPath to what the method says about the image
kind = "auto"                  # "top_k", "probabilities" or "logits" if that is what it is
"""


class Request(ImageRequest):
    """How images go into the body."""

    form: Literal["json", "raw", "multipart"] = "multipart"
    part: str = "image"
    key: str = "image"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "bentoml"``."""

    format: Literal["bentoml"]
    request: Request = Request()
