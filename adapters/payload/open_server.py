"""Servers of one's own model: free JSON in, free JSON out, within one framework's habits.

Formats of this kind share the tables ``[request]`` (`adapters.payload.image_request`) and
``[answer]``; each has its own defaults, and may know errors and metadata of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import WireAnswer, WireRequest
from adapters.payload.answer_rows import Kind, Row, capability_of, per_image, row_of, wire_answer
from adapters.payload.image_request import ImageRequest
from adapters.payload.json_answer import read_json
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectError


class RowsAnswer(FrozenModel):
    """Where the answer says what about each image."""

    path: str = "@"
    """JMESPath to the list with one row per image; ``@`` is the whole answer."""
    name: Annotated[str, Field(min_length=1)] | None = None
    """Which output, where rows are objects or the answer is an object of outputs."""
    kind: Kind = "auto"
    """What rows are; ``probabilities`` and ``logits`` only if they are that."""
    label_key: str = "label"
    """Where rows are lists of objects: the field with the label."""
    score_key: str = "score"
    """Where rows are lists of objects: the field with the number."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Name -> JMESPath of what the server says about itself, such as a model version."""

    @field_validator("path")
    @classmethod
    def _compiles(cls, path: str) -> str:
        compiled(path)
        return path

    @field_validator("metadata")
    @classmethod
    def _compile(cls, expressions: dict[str, str]) -> dict[str, str]:
        for expression in expressions.values():
            compiled(expression)
        return expressions


class OpenServerDescription(EndpointDescription):
    """An endpoint file of such a format."""

    request: ImageRequest = ImageRequest()
    answer: RowsAnswer = RowsAnswer()

    @property
    def sends_pixels(self) -> bool:
        """Whether images leave as numbers."""
        return self.request.sends_pixels

    @model_validator(mode="after")
    def _no_jpeg_of_numbers(self) -> "OpenServerDescription":
        if self.sends_pixels and self.image.encoding == "jpeg":
            raise ValueError("image.encoding: expected png where images leave as numbers, got jpeg")
        return self

    def wire_format(self, num_classes: int) -> "OpenServerFormat":
        """Return what encodes and decodes as the file says."""
        return OpenServerFormat(description=self, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class OpenServerFormat:
    """Encodes and decodes as an `OpenServerDescription` says."""

    description: OpenServerDescription
    num_classes: int

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self.description.request.batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self.description.answer.kind)

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        body, content_type = self.description.request.body(images, self.description.image)
        return post(self.description, body, content_type)

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read one row per image."""
        answer, document = self.description.answer, read_json(body)
        self.refuse(document, headers, body)
        found = search(answer.path, document)
        if found is None:
            raise SuspectError(
                f"answer.path: expected rows at {answer.path!r}, got none in {excerpt(body)!r}"
            )
        if isinstance(found, dict):
            found = _column(found, answer, num_images)
        parts = per_image(found, num_images, self.batch_size)
        rows = [self.row(part) for part in parts]
        told = metadata(answer.metadata, document)
        return wire_answer(rows, answer.kind, self.num_classes, told)

    def refuse(self, document: Any, headers: Mapping[str, str], body: bytes) -> None:
        """Raise where the server says inside a success that it has none.

        Raises:
            SuspectError: The model behind the server failed.
        """
        if isinstance(document, dict) and isinstance(document.get("error"), str | dict):
            raise SuspectError(f"answer: expected rows, got an error: {excerpt(body)!r}")

    def row(self, part: Any) -> Row:
        """Read what the answer says about one image."""
        answer = self.description.answer
        if answer.name is not None and isinstance(part, dict) and answer.name in part:
            part = part[answer.name]
        return row_of(part, answer.label_key, answer.score_key)


def post(description: EndpointDescription, body: bytes, content_type: str) -> WireRequest:
    """Return the request with the headers that every format sends."""
    return WireRequest(
        method="POST",
        url=description.url,
        headers={
            "Content-Type": content_type,
            "Accept": "application/json",
            **description.headers,
        },
        body=body,
    )


def compiled(expression: str) -> Any:
    """Return a JMESPath expression ready for use.

    Raises:
        ValueError: It is none.
    """
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"expected a JMESPath expression, got {expression!r} ({reason})") from None


def search(expression: str, document: Any) -> Any:
    """Return what a JMESPath expression finds.

    Raises:
        SuspectError: The expression cannot read this document.
    """
    try:
        return compiled(expression).search(document)
    except JMESPathError as error:
        raise SuspectError(
            f"answer: expected a document that {expression!r} can read, got {error}"
        ) from error


def metadata(expressions: Mapping[str, str], document: Any) -> dict[str, str]:
    """Return what the server says about itself, by name; nothing for what it does not say."""
    return {
        name: str(value)
        for name, expression in expressions.items()
        if (value := search(expression, document)) is not None
    }


def _column(found: dict[str, Any], answer: RowsAnswer, num_images: int) -> Any:
    """Return the output that the file names out of ``{output: rows}``, or the only one."""
    if answer.name is not None:
        if answer.name in found:
            return found[answer.name]
        raise SuspectError(f"answer.name: expected one of {', '.join(found)}, got {answer.name!r}")
    values = list(found.values())
    if len(values) == 1 and isinstance(values[0], list | str):
        return values[0]
    is_row = {answer.label_key, answer.score_key} <= set(found)
    is_row |= bool(values) and all(type(value) in (int, float) for value in values)
    if num_images == 1 and is_row:
        return found
    raise SuspectError(
        f"answer.name: expected the name of an output, one of {', '.join(found) or 'none'}, "
        "got nothing"
    )
