"""The wire format ``mlflow``: ``POST /invocations`` of an MLflow scoring server.

Source: MLflow, Deploy models, local inference server (``inputs`` and ``instances`` as in
TF-Serving; the answer is ``{"predictions": ...}``).
"""

from typing import Literal

from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, RowsAnswer

TEMPLATE = """\
url = "http://127.0.0.1:5000/invocations"

[request]
key = "inputs"                 # or "instances"
batch_size = 16                # images in one request
# field = "input"              # name of the input, if the model's signature has names
# columns = true               # with field: {"inputs": {"input": [...]}}

[request.tensor]
layout = "NCHW"                # or "NHWC"
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
# name = "probs"               # which output, if there are several
kind = "auto"                  # "probabilities" or "logits" if that is what rows are
"""


class Request(ImageRequest):
    """How images go into the document."""

    form: Literal["json"] = "json"
    key: Literal["inputs", "instances"] = "inputs"


class Answer(RowsAnswer):
    """Where rows are found."""

    path: str = "predictions"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "mlflow"``."""

    format: Literal["mlflow"]
    request: Request = Request()
    answer: Answer = Answer()
