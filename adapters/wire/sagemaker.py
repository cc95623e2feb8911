"""The wire format ``sagemaker``: ``InvokeEndpoint`` of Amazon SageMaker.

The body goes to the container as it is, with its Content-Type: JSON as for TF-Serving or MLflow,
or the image file. Requests are signed (`adapters.endpoint.aws`). Which production variant
answered is kept with each answer (``x-Amzn-Invoked-Production-Variant``).

Source: Amazon SageMaker Runtime, InvokeEndpoint; botocore's service model.
"""

from collections.abc import Mapping
from typing import Literal

from adapters.endpoint.aws import AwsDescription, aws_refusal
from adapters.payload.image_request import ImageRequest
from adapters.payload.open_server import OpenServerDescription, OpenServerFormat, RowsAnswer

TEMPLATE = """\
url = "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/ENDPOINT/invocations"

[aws]                          # needs: pip install "kinprint[aws]"
region = "eu-west-1"
# access_key_id_env = "AWS_ACCESS_KEY_ID"           # the variables that hold the keys
# secret_access_key_env = "AWS_SECRET_ACCESS_KEY"
# session_token_env = "AWS_SESSION_TOKEN"
# file = "aws.key"             # or a private file like ~/.aws/credentials
# profile = "audit"            # or a profile that botocore looks up

# [headers]
# X-Amzn-SageMaker-Target-Variant = "blue"          # one variant out of several

[request]
form = "json"                  # "raw" sends the image file, as the built-in classifier takes it
key = "instances"              # what the container reads
image = "tensor"               # nested numbers; "base64" or "b64" for the image file in JSON
batch_size = 8                 # images in one request

[request.tensor]
layout = "NCHW"                # or "NHWC"
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
path = "predictions || @"      # JMESPath to the rows; "@" is the whole answer
kind = "auto"                  # "probabilities" or "logits" if that is what rows are
"""


class Request(ImageRequest):
    """How images go into the body."""

    form: Literal["json", "raw"] = "json"


class Answer(RowsAnswer):
    """Where rows are found."""

    path: str = "predictions || @"


class Description(AwsDescription, OpenServerDescription):
    """An endpoint file with ``format = "sagemaker"``."""

    format: Literal["sagemaker"]
    request: Request = Request()
    answer: Answer = Answer()

    @property
    def service(self) -> str:
        """Return the name that the signature carries."""
        return "sagemaker"

    def wire_format(self, num_classes: int) -> "SageMakerFormat":
        """Return what encodes and decodes as the file says."""
        return SageMakerFormat(description=self, num_classes=num_classes)


class SageMakerFormat(OpenServerFormat):
    """Knows the service's errors."""

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """Return what an error's type means."""
        return aws_refusal(status, headers, body)
