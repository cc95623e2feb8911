"""The table ``[request]`` of servers that take what their models were written for.

An image leaves as the body itself, as a field of a form, or inside a JSON document:
``{key: [image, ...]}``, ``{key: [{field: image}, ...]}``, ``{key: {field: [image, ...]}}`` with
``columns``, or ``{key: image}`` with ``single``.
"""

import base64
import json
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from urllib3.filepost import encode_multipart_formdata

from adapters.endpoint import description as endpoint_description
from adapters.payload.image_encoding import MIME_TYPES, encode
from adapters.payload.json_body import dumps, nested_numbers
from adapters.payload.tensor_table import TensorTable
from adapters.strict_model import FrozenModel

BOUNDARY = "kinprint-b1c0f4c19f1e4a7d"
"""Between the parts of a form; fixed, so that the same image makes the same request."""

Name = Annotated[str, Field(min_length=1)]


class ImageRequest(FrozenModel):
    """How images become the body of a request."""

    form: Literal["json", "raw", "multipart"] = "json"
    """``raw``: the body is the image file; ``multipart``: a form carries it."""
    part: Name = "data"
    """Field of the multipart form that takes the image file."""
    key: str = "instances"
    """Top-level field of the JSON document that takes the images; empty: the list is the body."""
    image: Literal["tensor", "base64", "b64"] = "tensor"
    """Nested lists of numbers; the image file in base64; or ``{"b64": ...}`` around that."""
    field: Name | None = None
    """Name of the input, where each image goes into an object."""
    columns: bool = False
    """One object with a list of images under `field`, instead of a list of objects."""
    single: bool = False
    """The image itself instead of a list of one."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further top-level fields of the JSON document."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Images in one request."""
    tensor: TensorTable = TensorTable()

    @property
    def sends_pixels(self) -> bool:
        """Whether images leave as numbers."""
        return self.form == "json" and self.image == "tensor"

    @field_validator("extra")
    @classmethod
    def _json(cls, extra: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(extra, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("expected JSON values, got a date, nan or inf; write text") from None
        return extra

    @model_validator(mode="after")
    def _fits(self) -> "ImageRequest":
        if self.batch_size > 1 and (self.form != "json" or self.single):
            raise ValueError("batch_size: expected 1 where the body holds one image, got more")
        if self.columns and self.field is None:
            raise ValueError("field: expected the name of the input beside columns, got none")
        if not self.key and (self.extra or self.columns):
            raise ValueError("key: expected a name beside extra or columns, got none")
        return self

    def body(
        self, images: NDArray[np.uint8], wanted: endpoint_description.Image
    ) -> tuple[bytes, str]:
        """Return the body for ``[N, H, W, C]`` and its Content-Type.

        Args:
            images: Pixels in the size that the endpoint takes.
            wanted: The endpoint file's table ``[image]``.
        """
        if self.form == "json":
            document = self._document(self._values(images, wanted), MIME_TYPES[wanted.encoding])
            return dumps(document), "application/json"
        file, mime_type = encode(images[0], wanted), MIME_TYPES[wanted.encoding]
        if self.form == "raw":
            return file, mime_type
        part = (self.part, (f"image.{wanted.encoding}", file, mime_type))
        return encode_multipart_formdata([part], boundary=BOUNDARY)

    def _values(self, images: NDArray[np.uint8], wanted: endpoint_description.Image) -> list[Any]:
        """Return the JSON value of each image."""
        if self.image == "tensor":
            return [nested_numbers(values) for values in self.tensor.tensor(images)]
        texts = [base64.b64encode(encode(image, wanted)).decode() for image in images]
        return [{"b64": text} for text in texts] if self.image == "b64" else texts

    def row(self, value: Any, mime_type: str) -> Any:
        """Return the entry of one image in the list.

        Args:
            value: Numbers, or the image file as text.
            mime_type: Of the image file.
        """
        return {self.field: value} if self.field else value

    def _document(self, values: list[Any], mime_type: str) -> Any:
        if self.columns:
            return {**self.extra, self.key: {self.field: values}}
        rows = [self.row(value, mime_type) for value in values]
        content = rows[0] if self.single else rows
        return {**self.extra, self.key: content} if self.key else content
