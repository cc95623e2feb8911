"""The wire format ``generic``: the endpoint file spells out the request and the answer.

The body is JSON with a placeholder, the bytes of the image, or a multipart form; the label
is found by a JMESPath expression (https://jmespath.org/specification.html).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from urllib3.filepost import encode_multipart_formdata

from adapters.endpoint_description import EndpointDescription, FrozenModel
from adapters.image_encoding import MIME_TYPES, encode
from adapters.json_answer import read_json
from adapters.json_template import JsonTemplate, parse_template
from adapters.suspect import Capability, SuspectError
from adapters.wire.protocol import Label, Scores, WireAnswer, WireRequest

_BOUNDARY = "kinprint-b1c0f4c19f1e4a7d"
"""Between the parts of a form; fixed, so that the same image makes the same request."""


class Request(FrozenModel):
    """How the image is put into the body: exactly one of template, raw and multipart."""

    template: Any = None
    """JSON (as text or as a table) with ``{{image_base64_png}}`` where the image goes."""
    raw: bool = False
    """The body is the image file."""
    multipart: Annotated[str, Field(min_length=1)] | None = None
    """Name of the form field that takes the image file."""
    form: dict[str, str] = Field(default_factory=dict)
    """Other fields of the multipart form."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Images in one request; more than 1 repeats a list of the template."""

    @model_validator(mode="after")
    def _one_body(self) -> "Request":
        chosen = [self.template is not None, self.raw, self.multipart is not None]
        if sum(chosen) != 1:
            raise ValueError(f"expected one of template, raw and multipart, got {sum(chosen)}")
        if self.form and self.multipart is None:
            raise ValueError("form: expected multipart beside it, got none")
        if self.batch_size > 1 and self.template is None:
            raise ValueError("batch_size: expected 1 without a template, got more")
        return self


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
            _compiled(expression)
        return expression

    @field_validator("metadata")
    @classmethod
    def _compile(cls, expressions: dict[str, str]) -> dict[str, str]:
        for expression in expressions.values():
            _compiled(expression)
        return expressions


class Description(EndpointDescription):
    """An endpoint file with ``format = "generic"``."""

    format: Literal["generic"]
    method: Literal["POST", "PUT"] = "POST"
    request: Request
    answer: Answer

    @model_validator(mode="after")
    def _template_fits(self) -> "Description":
        if self.request.template is not None:
            try:
                self._template()
            except ValueError as error:
                raise ValueError(f"request.template: {error}") from error
        return self

    def wire_format(self) -> "GenericFormat":
        """Return what encodes and decodes as the file says."""
        template = self._template() if self.request.template is not None else None
        return GenericFormat(description=self, template=template)

    def _template(self) -> JsonTemplate:
        return parse_template(
            self.request.template,
            f"image_base64_{self.image.encoding}",
            is_batch=self.request.batch_size > 1,
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
        files = [encode(image, self.description.image) for image in images]
        request, mime_type = self.description.request, MIME_TYPES[self.description.image.encoding]
        if self.template is not None:
            body = self.template.fill([base64.b64encode(file).decode() for file in files])
            content_type = "application/json"
        elif request.multipart is not None:
            suffix = self.description.image.encoding
            image = (request.multipart, (f"image.{suffix}", files[0], mime_type))
            body, content_type = encode_multipart_formdata(
                [*request.form.items(), image], boundary=_BOUNDARY
            )
        else:
            body, content_type = files[0], mime_type
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
        labels = self._per_image(_search(answer.label, document), "label", num_images)
        scores: tuple[Scores, ...] | None = None
        if answer.scores is not None:
            found = self._per_image(_search(answer.scores, document), "scores", num_images)
            scores = tuple(_scores(value) for value in found)
        return WireAnswer(
            labels=tuple(_label(value) for value in labels),
            scores=scores,
            metadata={
                name: str(value)
                for name, expression in answer.metadata.items()
                if (value := _search(expression, document)) is not None
            },
        )

    def _per_image(self, value: Any, what: str, num_images: int) -> list[Any]:
        """Return one value per image; a list in the answer counts as such only in batches."""
        if self.batch_size == 1:
            return [value]
        if not isinstance(value, list) or len(value) != num_images:
            found = f"{len(value)}" if isinstance(value, list) else _kind(value)
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
        f"answer.label: expected a class name or an index, got {_kind(value)}; let the "
        "expression end in one value, as in predictions[0].label"
    )


def _scores(value: Any) -> Scores:
    numbers = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not all(
        type(item) in (int, float) for item in numbers
    ):
        raise SuspectError(
            "answer.scores: expected a list of numbers or an object of label to number, "
            f"got {_kind(value)}"
        )
    return value if isinstance(value, dict) else tuple(value)


def _kind(value: Any) -> str:
    """Name the JSON type of a value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")


def _compiled(expression: str) -> Any:
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"expected a JMESPath expression, got {expression!r} ({reason})") from None


def _search(expression: str, document: Any) -> Any:
    try:
        return _compiled(expression).search(document)
    except JMESPathError as error:
        raise SuspectError(
            f"answer: expected a document that {expression!r} can read, got {error}"
        ) from error
