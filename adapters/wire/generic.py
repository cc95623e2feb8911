"""The wire format ``generic``: the endpoint file spells out the request and the answer.

The body is JSON with a placeholder, the bytes of the image, or a multipart form; the label
is found by a JMESPath expression (https://jmespath.org/specification.html).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from urllib3.filepost import encode_multipart_formdata

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import Label, Scores, WireAnswer, WireRequest
from adapters.payload.answer_rows import kind_of
from adapters.payload.image_encoding import MIME_TYPES, encode
from adapters.payload.image_request import BOUNDARY
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import nested_numbers
from adapters.payload.json_template import JsonTemplate, parse_template
from adapters.payload.open_server import compiled, metadata, search
from adapters.payload.tensor_table import TensorTable
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectError

TEMPLATE = """\
url = "https://api.vendor.example/v1/classify"

[auth]                         # leave it out for servers that ask for none
scheme = "Bearer"
env = "VENDOR_KEY"             # the variable that holds the secret, not the secret

[request]
template = '{"image": "{{image_base64_png}}"}'    # JSON around the image file in base64
# template = '{"inputs": ["{{image_array}}"]}'    # ... or around its numbers
# raw = true                   # instead: the body is the image file
# multipart = "image"          # instead: a form's field carries the image file

# [request.tensor]             # for image_array; (pixel / 255 - mean) / std
# layout = "NCHW"              # or "NHWC"
# mean = [0.485, 0.456, 0.406]
# std = [0.229, 0.224, 0.225]

[answer]
label = "predictions[0].label" # JMESPath to the class name or its index
# scores = "probabilities"     # JMESPath to all probabilities, if the vendor gives them
# metadata = { version = "model.version" }
"""

ARRAY = "image_array"
"""Placeholder that becomes nested lists of numbers."""


class Request(FrozenModel):
    """How the image is put into the body: exactly one of template, raw and multipart."""

    template: Any = None
    """JSON (as text or as a table) with ``{{image_base64_png}}`` where the image goes, or
    ``{{image_array}}`` where its numbers go."""
    raw: bool = False
    """The body is the image file."""
    multipart: Annotated[str, Field(min_length=1)] | None = None
    """Name of the form field that takes the image file."""
    form: dict[str, str] = Field(default_factory=dict)
    """Other fields of the multipart form."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Images in one request; more than 1 repeats a list of the template."""
    tensor: TensorTable | None = None
    """How pixels become the numbers of ``{{image_array}}``."""

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        chosen = [self.template is not None, self.raw, self.multipart is not None]
        if sum(chosen) != 1:
            raise ValueError(f"expected one of template, raw and multipart, got {sum(chosen)}")
        if self.form and self.multipart is None:
            raise ValueError("form: expected multipart beside it, got none")
        if self.batch_size > 1 and self.template is None:
            raise ValueError("batch_size: expected 1 without a template, got more")
        if self.tensor is not None and not self.has_array:
            raise ValueError("tensor: expected {{image_array}} in the template beside it, got none")
        return self

    @property
    def has_array(self) -> bool:
        """Whether the template asks for numbers instead of an image file."""
        text = self.template if isinstance(self.template, str) else repr(self.template)
        return "{{" + ARRAY + "}}" in text


class Answer(FrozenModel):
    """Where the answer says what."""

    label: str
    """JMESPath of the class: a name, an index or null. With `batch_size` > 1 a list of them:
    ``map(&label, out)`` keeps refusals in it, ``out[].label`` drops them."""
    scores: str | None = None
    """JMESPath of the K probabilities, as a list or as an object by label."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Name -> JMESPath of what the server says about itself, such as a model version."""

    @field_validator("label", "scores")
    @classmethod
    def _compiles(cls, expression: str | None) -> str | None:
        if expression is not None:
            compiled(expression)
        return expression

    @field_validator("metadata")
    @classmethod
    def _compile(cls, expressions: dict[str, str]) -> dict[str, str]:
        for expression in expressions.values():
            compiled(expression)
        return expressions


class Description(EndpointDescription):
    """An endpoint file with ``format = "generic"``."""

    format: Literal["generic"]
    method: Literal["POST", "PUT"] = "POST"
    request: Request
    answer: Answer

    @property
    def sends_pixels(self) -> bool:
        """Whether images leave as numbers."""
        return self.request.has_array

    @model_validator(mode="after")
    def _template_fits(self) -> "Description":
        if self.request.template is not None:
            try:
                self._template()
            except ValueError as error:
                raise ValueError(f"request.template: {error}") from error
        return self

    def wire_format(self, num_classes: int) -> "GenericFormat":
        """Return what encodes and decodes as the file says."""
        template = self._template() if self.request.template is not None else None
        return GenericFormat(description=self, template=template)

    def _template(self) -> JsonTemplate:
        placeholder = ARRAY if self.sends_pixels else f"image_base64_{self.image.encoding}"
        is_batch = self.request.batch_size > 1
        return parse_template(
            self.request.template, placeholder, is_batch=is_batch, is_whole=self.sends_pixels
        )


@dataclass(frozen=True, kw_only=True)
class GenericFormat:
    """Encodes and decodes as an endpoint file of the format ``generic`` says."""

    description: Description
    template: JsonTemplate | None

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self.description.request.batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        if self.description.answer.scores is not None:
            return Capability.PROBABILITIES
        return Capability.LABELS

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        request, mime_type = self.description.request, MIME_TYPES[self.description.image.encoding]
        if self.template is not None and self.description.sends_pixels:
            tensor = (request.tensor or TensorTable()).tensor(images)
            body = self.template.fill([nested_numbers(values) for values in tensor])
            return self._request(body, "application/json")
        files = [encode(image, self.description.image) for image in images]
        if self.template is not None:
            body = self.template.fill([base64.b64encode(file).decode() for file in files])
            content_type = "application/json"
        elif request.multipart is not None:
            suffix = self.description.image.encoding
            image = (request.multipart, (f"image.{suffix}", files[0], mime_type))
            body, content_type = encode_multipart_formdata(
                [*request.form.items(), image], boundary=BOUNDARY
            )
        else:
            body, content_type = files[0], mime_type
        return self._request(body, content_type)

    def _request(self, body: bytes, content_type: str) -> WireRequest:
        return WireRequest(
            method=self.description.method,
            url=self.description.url,
            headers={
                "Content-Type": content_type,
                "Accept": "application/json",
                **self.description.headers,
            },
            body=body,
        )

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read labels, and scores where the file says where they are."""
        answer, document = self.description.answer, read_json(body)
        labels = self._per_image(search(answer.label, document), "label", num_images)
        scores: tuple[Scores, ...] | None = None
        if answer.scores is not None:
            found = self._per_image(search(answer.scores, document), "scores", num_images)
            scores = tuple(_scores(value) for value in found)
        return WireAnswer(
            labels=tuple(_label(value) for value in labels),
            scores=scores,
            metadata=metadata(answer.metadata, document),
        )

    def _per_image(self, value: Any, what: str, num_images: int) -> list[Any]:
        """Return one value per image; a list in the answer counts as such only in batches."""
        if self.batch_size == 1:
            return [value]
        if not isinstance(value, list) or len(value) != num_images:
            found = f"{len(value)}" if isinstance(value, list) else kind_of(value)
            raise SuspectError(
                f"answer.{what}: expected a list of {num_images}, one per image, got {found}"
            )
        return value


def _label(value: Any) -> Label:
    match value:
        case bool():
            pass
        case None | str() | int():
            return value
        case float() if value.is_integer():
            return int(value)
    raise SuspectError(
        f"answer.label: expected a class name or an index, got {kind_of(value)}; let the "
        "expression end in one value, as in predictions[0].label"
    )


def _scores(value: Any) -> Scores:
    numbers = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not all(
        type(item) in (int, float) for item in numbers
    ):
        raise SuspectError(
            "answer.scores: expected a list of numbers or an object of label to number, "
            f"got {kind_of(value)}"
        )
    return value if isinstance(value, dict) else tuple(value)
