"""The wire format ``kserve_v1``: ``POST /v1/models/{model}:predict`` of KServe and TF-Serving.

Rows go as ``{"instances": [...]}`` and come back as ``{"predictions": [...]}``; columns go as
``{"inputs": ...}`` and come back as ``{"outputs": ...}``. An image file stands in
``{"b64": "..."}``.

Source: TensorFlow Serving, RESTful API, Predict API; KServe, Data plane V1.
"""

from typing import Literal

from pydantic import field_validator

from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, RowsAnswer

TEMPLATE = """\
url = "http://127.0.0.1:8080/v1/models/MODEL:predict"

[request]
image = "tensor"               # nested numbers; "b64" sends the image file in {"b64": "..."}
batch_size = 16                # images in one request
# field = "image"              # name of the input, if the model has several
# key = "inputs"               # columns instead of rows
# columns = true               # ... with the input's name: {"inputs": {"image": [...]}}
# extra = { signature_name = "serving_default" }

[request.tensor]
layout = "NHWC"                # TensorFlow's habit; PyTorch's is "NCHW"
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
# name = "probabilities"       # which output, if there are several
kind = "auto"                  # "probabilities" or "logits" if that is what rows are
"""


class Request(ImageRequest):
    """How images go into the document."""

    form: Literal["json"] = "json"
    key: Literal["instances", "inputs"] = "instances"


class Answer(RowsAnswer):
    """Where rows are found."""

    path: str = "predictions || outputs"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "kserve_v1"``."""

    format: Literal["kserve_v1"]
    request: Request = Request()
    answer: Answer = Answer()

    @field_validator("url")
    @classmethod
    def _predicts(cls, url: str) -> str:
        if not url.partition("?")[0].endswith(":predict"):
            raise ValueError("expected an address that ends in :predict")
        return url
