"""The wire format ``rekognition``: ``DetectCustomLabels`` of Amazon Rekognition.

``MinConfidence`` is 0, since the model's own threshold would hide classes. Confidences are
percentages. Images under 64 pixels are refused by the service, so they are refused here before
anything is sent. Requests are signed (`adapters.endpoint.aws`).

Source: Amazon Rekognition, DetectCustomLabels; Custom Labels, Guidelines and quotas; botocore's
service model.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.endpoint.aws import AwsDescription, aws_refusal
from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import capability_of, named, wire_answer
from adapters.payload.image_encoding import encode
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import dumps
from adapters.payload.named_answer import NamedAnswer
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectConfigError, SuspectError

MIN_SIDE = 64
"""Pixels."""
_PERCENT = 100.0

TEMPLATE = """\
url = "https://rekognition.eu-west-1.amazonaws.com/"
# requests_per_second = 5      # one inference unit; the service throttles above

[aws]                          # needs: pip install "kinprint[aws]"
region = "eu-west-1"
# access_key_id_env = "AWS_ACCESS_KEY_ID"           # the variables that hold the keys
# secret_access_key_env = "AWS_SECRET_ACCESS_KEY"
# session_token_env = "AWS_SESSION_TOKEN"
# file = "aws.key"             # or a private file like ~/.aws/credentials
# profile = "audit"            # or a profile that botocore looks up

[image]
size = [64, 64]                # the service refuses smaller images

[request]
project_version_arn = "arn:aws:rekognition:eu-west-1:123456789012:project/P/version/V/1"

[answer]
kind = "top_k"                 # "probabilities" if all classes are listed and add up to 100 %
"""


class Request(FrozenModel):
    """Which model is asked."""

    project_version_arn: Annotated[str, Field(min_length=20, pattern=r"^arn:")]
    """The running model version."""


class Description(AwsDescription):
    """An endpoint file with ``format = "rekognition"``."""

    format: Literal["rekognition"]
    request: Request
    answer: NamedAnswer = NamedAnswer()

    @property
    def service(self) -> str:
        """Return the name that the signature carries."""
        return "rekognition"

    def wire_format(self, num_classes: int) -> "RekognitionFormat":
        """Return what encodes and decodes as the file says."""
        return RekognitionFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class RekognitionFormat:
    """One image per request, labels with percentages per answer."""

    description: Description
    num_classes: int
    batch_size: int = 1

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self.description.answer.kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[1, H, W, C]``.

        Raises:
            SuspectConfigError: The image is smaller than the service takes.
        """
        height, width = images.shape[1:3]
        if min(height, width) < MIN_SIDE:
            raise SuspectConfigError(
                f"image.size: expected at least [{MIN_SIDE}, {MIN_SIDE}], which the service asks "
                f"for, got [{height}, {width}]; set image.size"
            )
        file = encode(images[0], self.description.image)
        document = {
            "ProjectVersionArn": self.description.request.project_version_arn,
            "Image": {"Bytes": base64.b64encode(file).decode()},
            "MaxResults": self.num_classes,
            "MinConfidence": 0,
        }
        return WireRequest(
            method="POST",
            url=self.description.url,
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "RekognitionService.DetectCustomLabels",
                **self.description.headers,
            },
            body=dumps(document),
        )

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read the labels; none at all is a refusal."""
        document = read_json(body)
        found = document.get("CustomLabels") if isinstance(document, dict) else None
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise SuspectError(f"answer: expected CustomLabels, got {excerpt(body)!r}")
        percents = named([(item.get("Name"), item.get("Confidence")) for item in found])
        row = {name: percent / _PERCENT for name, percent in percents.items()} or None
        return wire_answer([row], self.description.answer.kind, self.num_classes)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """Return what an error's type means."""
        return aws_refusal(status, headers, body)
