"""The wire format ``generic``: the endpoint file spells out the request and the answer.

The body is JSON with a placeholder, the bytes of the image, or a multipart form; the label
is found by a JMESPath expression (https://jmespath.org/specification.html) in JSON or XML, or is
the text that comes back.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from urllib3.filepost import encode_multipart_formdata

from adapters.class_words import WordRules
from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import Label, Scores, WireAnswer, WireRequest
from adapters.payload.answer_rows import capability_of, kind_of
from adapters.payload.image_encoding import MIME_TYPES, encode
from adapters.payload.image_request import BOUNDARY
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import nested_numbers
from adapters.payload.json_template import JsonTemplate, parse_template
from adapters.payload.open_server import compiled, metadata, search
from adapters.payload.tensor_table import TensorTable
from adapters.payload.text_answer import json_within, read_text, read_xml
from adapters.payload.words_table import WordsTable
from adapters.payload.written_number import written_number
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
# read = "text"                # the answer is the label, in words; or "xml"
# find = "within"              # a sentence may stand around the name of the class
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


class Answer(WordsTable):
    """Where the answer says what."""

    read: Literal["json", "text", "xml"] = Field(
        default="json", exclude_if=lambda read: bool(read == "json")
    )
    """What comes back; a plain text is the label itself."""
    inside: str | None = Field(default=None, exclude_if=lambda inside: inside is None)
    """JMESPath to a text that holds the JSON in which `label` and `scores` look."""
    label: str | None = None
    """JMESPath of the class: a name, an index or null. With `batch_size` > 1 a list of them:
    ``map(&label, out)`` keeps refusals in it, ``out[].label`` drops them. Absent beside `scores`:
    the class with the largest."""
    scores: str | None = None
    """JMESPath of the K probabilities: a list, an object by label, or objects of label and
    score."""
    kind: Literal["probabilities", "logits", "top_k"] = Field(
        default="probabilities", exclude_if=lambda kind: bool(kind == "probabilities")
    )
    """What `scores` are; ``top_k``: some classes may be left out."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Name -> JMESPath of what the server says about itself, such as a model version."""

    @field_validator("label", "scores", "inside")
    @classmethod
    def _compiled(cls, expression: str | None) -> str | None:
        if expression is not None:
            compiled(expression)
        return expression

    @field_validator("metadata")
    @classmethod
    def _all_compiled(cls, expressions: dict[str, str]) -> dict[str, str]:
        for expression in expressions.values():
            compiled(expression)
        return expressions

    @model_validator(mode="after")
    def _says_where(self) -> "Answer":
        is_text = self.read == "text" and self.inside is None
        if is_text and (self.label is not None or self.scores is not None):
            raise ValueError(
                "label: expected none of label and scores beside read = text, which is the label"
            )
        if is_text and self.metadata:
            raise ValueError("metadata: expected none beside read = text, got some")
        if not is_text and self.label is None and self.scores is None:
            raise ValueError("label: expected an expression for label, scores or both, got neither")
        if self.kind != "probabilities" and self.scores is None:
            raise ValueError("kind: expected scores beside it, got none")
        return self


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

    @property
    def words(self) -> WordRules | None:
        """How labels that come as words are read."""
        return self.answer.rules(is_text=self.answer.read != "json" or bool(self.answer.inside))

    @model_validator(mode="after")
    def _one_text_for_one_image(self) -> "Description":
        if self.answer.read == "text" and self.request.batch_size > 1:
            raise ValueError("request.batch_size: expected 1 beside answer.read = text, got more")
        return self

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
        answer = self.description.answer
        return Capability.LABELS if answer.scores is None else capability_of(answer.kind)

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
        answer = self.description.answer
        document, told = self._document(body, headers)
        scores: tuple[Scores, ...] | None = None
        if answer.scores is not None:
            found = self._per_image(search(answer.scores, document), "scores", num_images)
            scores = tuple(_scores(value) for value in found)
        if answer.label is not None:
            labels = self._per_image(search(answer.label, document), "label", num_images)
            named = tuple(_label(value) for value in labels)
        elif scores is not None:
            named = tuple(_best(each) for each in scores)
        else:
            named = (str(document),)
        return WireAnswer(
            labels=named,
            scores=scores,
            scores_kind=answer.kind,
            metadata=metadata(answer.metadata, told),
        )

    def _document(self, body: bytes, headers: Mapping[str, str]) -> tuple[Any, Any]:
        """Return in what labels are looked for, and in what the server's words about itself."""
        answer = self.description.answer
        whole: Any
        match answer.read:
            case "json":
                whole = read_json(body)
            case "xml":
                whole = read_xml(body)
            case "text":
                whole = read_text(body, headers)
        if answer.inside is None:
            return whole, whole
        return json_within(search(answer.inside, whole)), whole

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
    if isinstance(value, list) and value and all(_is_pair(item) for item in value):
        value = {item["label"]: item["score"] for item in value}
    is_named = isinstance(value, dict)
    listed = list(value.values()) if is_named else value
    numbers = [written_number(item) for item in listed] if isinstance(listed, list) else [None]
    if any(number is None for number in numbers):
        raise SuspectError(
            "answer.scores: expected a list of numbers or an object of label to number, "
            f"got {kind_of(value)}"
        )
    told = tuple(number for number in numbers if number is not None)
    return dict(zip(value, told, strict=True)) if is_named else told


def _is_pair(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("label"), str) and "score" in item


def _best(scores: Scores) -> Label:
    """Return the label with the largest score, the first of equals; None where one is no number."""
    pairs = list(scores.items() if isinstance(scores, Mapping) else enumerate(scores))
    if not all(math.isfinite(score) for _, score in pairs):
        return None
    return max(pairs, key=lambda pair: pair[1], default=(None, 0.0))[0]
