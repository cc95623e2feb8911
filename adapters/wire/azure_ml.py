"""The wire format ``azure_ml``: ``POST /score`` of an Azure Machine Learning online endpoint.

The document is whatever the deployment's ``run()`` takes, the answer whatever it returns. A run
that fails is marked by the header ``x-ms-run-function-failed``.

Source: Azure Machine Learning, Deploy and score a model with an online endpoint; inference
server 1.5.
"""

from collections.abc import Mapping
from typing import Any, Literal

from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, OpenServerFormat
from adapters.printable import excerpt
from adapters.suspect import SuspectError

TEMPLATE = """\
url = "https://ENDPOINT.REGION.inference.ml.azure.com/score"

[auth]
scheme = "Bearer"
env = "AZURE_ML_KEY"           # the variable that holds the key, not the key

# [headers]
# azureml-model-deployment = "blue"    # one deployment out of several

[request]
key = "data"                   # what run() reads; "input_data" for MLflow models
image = "tensor"               # nested numbers; "base64" sends the image file
batch_size = 16                # images in one request

[request.tensor]
layout = "NCHW"                # or "NHWC"
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
path = "@"                     # JMESPath to the rows; "@" is the whole answer
kind = "auto"                  # "probabilities" or "logits" if that is what rows are
"""


class Request(ImageRequest):
    """How images go into the document."""

    form: Literal["json", "raw"] = "json"
    key: str = "data"


class Description(OpenServerDescription):
    """An endpoint file with ``format = "azure_ml"``."""

    format: Literal["azure_ml"]
    request: Request = Request()

    def wire_format(self, num_classes: int) -> "AzureMlFormat":
        """Return what encodes and decodes as the file says."""
        return AzureMlFormat(description=self, num_classes=num_classes)


class AzureMlFormat(OpenServerFormat):
    """Knows how a run that failed is marked."""

    def refuse(self, document: Any, headers: Mapping[str, str], body: bytes) -> None:
        """Raise where the deployment's code failed inside a success."""
        if headers.get("x-ms-run-function-failed", "").lower() == "true":
            raise SuspectError(f"answer: expected rows, got a run that failed: {excerpt(body)!r}")
        super().refuse(document, headers, body)
