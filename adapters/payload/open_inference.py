"""Requests and answers of the Open Inference Protocol V2 over HTTP, with Triton's binary tail.

Shared by the wire formats that speak it. What the endpoint file leaves open (name, type and axes
of the input, name of the output) is read from the server's metadata before the first image. Every
request has an ``id``, since some servers fail without; many answer with another one.

Source: KServe, Open Inference Protocol V2, HTTP/REST; Triton, Binary tensor data extension.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import AskAgainError, WireRequest
from adapters.payload.image_encoding import encode as encode_file
from adapters.payload.inference_outputs import OutputTensor, read_outputs
from adapters.payload.json_answer import read_json
from adapters.payload.json_body import JsonText, dumps, nested_numbers
from adapters.payload.tensor_table import TensorTable
from adapters.preprocessing import InputDtype, Layout
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError, SuspectError

Datatype = Literal["FP32", "FP16", "FP64", "UINT8", "INT8", "INT32", "BYTES"]

_INPUT_DTYPES: dict[str, InputDtype] = {
    "FP32": "float32",
    "FP16": "float16",
    "FP64": "float64",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
}
LENGTH_HEADER = "Inference-Header-Content-Length"
"""Bytes of the JSON before the binary tail."""

Name = Annotated[str, Field(min_length=1)]


class TensorRequest(FrozenModel):
    """How images become the input tensor; what is left out comes from the server's metadata."""

    input: Name | None = None
    """Name of the input."""
    datatype: Datatype | None = None
    """Type of its elements; ``BYTES`` takes image files."""
    layout: Literal["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW", "N(CHW)", "N(HWC)"] | None = None
    """Axes of the input; from its shape if absent, as far as that tells."""
    binary: bool = False
    """Send the elements as bytes after the JSON (Triton, KServe): smaller and exact."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Images in one request."""
    tensor: TensorTable = TensorTable()
    """Scaling; its `layout` and `dtype` are left out here."""

    @model_validator(mode="after")
    def _fits(self) -> "TensorRequest":
        for name, instead in (("layout", "request.layout"), ("dtype", "request.datatype")):
            if name in self.tensor.model_fields_set:
                raise ValueError(f"tensor.{name}: expected none here, write {instead}")
        if self.datatype == "FP16" and not self.binary:
            raise ValueError("binary: expected true with FP16, which JSON cannot carry, got false")
        if self.batch_size > 1 and self.layout in ("CHW", "HWC", "HW"):
            raise ValueError(f"batch_size: expected 1 with layout {self.layout}, got more")
        return self


class OpenInferenceDescription(EndpointDescription):
    """An endpoint that speaks the protocol."""

    request: TensorRequest = TensorRequest()

    @property
    def sends_pixels(self) -> bool:
        """Whether images leave as numbers."""
        return self.request.datatype != "BYTES"

    @field_validator("url")
    @classmethod
    def _infers(cls, url: str) -> str:
        if not url.partition("?")[0].endswith("/infer"):
            raise ValueError("expected an address like .../v2/models/MODEL/infer; add /infer")
        return url


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What is known about a model's input and output."""

    input: str
    datatype: Datatype
    shape: tuple[int, ...] | None
    """As the server says, -1 for any; None where the endpoint file said all the rest."""
    output: str | None
    """None: the only one that the answer has."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """A decoded answer."""

    output: OutputTensor
    id: str | None
    """What the server numbers it by; None where it does not."""
    metadata: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class InputTensor:
    """What is sent about some images."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: bytes
    """The elements as the binary forms of the protocol have them, little-endian."""
    files: list[bytes] | None
    """Image files, where these are the elements; otherwise there are"""
    values: NDArray[Any] | None
    """numbers."""
    number: str
    """The request's, made of its elements."""


class OpenInference:
    """Builds requests and reads answers of one endpoint; used by several threads."""

    def __init__(
        self,
        description: OpenInferenceDescription,
        output: str | None,
        output_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare; nothing is known about the model yet but what the file says.

        Args:
            description: The endpoint file.
            output: Name of the output, where the file says it.
            output_parameters: Sent with the output.
        """
        self._description = description
        self._output = output
        self._output_parameters = dict(output_parameters or {})
        request = description.request
        self._tensors: Tensors | None = None
        if request.input and request.datatype and (request.layout or request.datatype == "BYTES"):
            self._tensors = Tensors(
                input=request.input, datatype=request.datatype, shape=None, output=output
            )

    def question(self) -> WireRequest | None:
        """Return the request for the model's metadata; None once it is known."""
        if self._tensors is not None:
            return None
        place, _, query = self._description.url.partition("?")
        url = place.removesuffix("/infer") + (f"?{query}" if query else "")
        headers = {"Accept": "application/json", **self._description.headers}
        return WireRequest(method="GET", url=url, headers=headers, body=b"")

    def learn(self, body: bytes) -> None:
        """Read the model's metadata.

        Raises:
            SuspectConfigError: It leaves open what the file leaves open, or contradicts it.
        """
        self.learn_from(read_json(body))

    def learn_from(self, document: Any) -> None:
        """Take the model's metadata as the protocol describes it; errors as in `learn`."""
        request = self._description.request
        inputs = _described(document, "inputs")
        if not inputs:
            if request.input is None or request.datatype is None:
                raise SuspectConfigError(
                    "request.input: expected a name, since the server describes no inputs, got "
                    "nothing; write request.input, request.datatype and request.layout"
                )
            inputs = {request.input: {}}
        name = _chosen(inputs, request.input, "request.input")
        datatype = request.datatype or inputs[name].get("datatype")
        if datatype not in (*_INPUT_DTYPES, "BYTES"):
            raise SuspectConfigError(
                f"request.datatype: expected one of {', '.join((*_INPUT_DTYPES, 'BYTES'))}, got "
                f"{datatype!r} from the server"
            )
        if datatype == "FP16" and not request.binary:
            raise SuspectConfigError(
                "request.binary: expected true, since the model takes FP16, got false"
            )
        outputs = _described(document, "outputs")
        output = self._output
        if outputs:
            output = _chosen(outputs, self._output, "answer.output")
        shape = inputs[name].get("shape")
        is_shape = isinstance(shape, list) and all(type(side) is int for side in shape)
        self._tensors = Tensors(
            input=name,
            datatype=datatype,
            shape=tuple(shape) if isinstance(shape, list) and is_shape else None,
            output=output,
        )

    def request_for(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        request, given = self._description.request, self.input_tensor(images)
        tensor: dict[str, Any] = {
            "name": given.name,
            "shape": given.shape,
            "datatype": given.datatype,
        }
        document: dict[str, Any] = {"id": given.number, "inputs": [tensor]}
        if request.binary:
            tensor["parameters"] = {"binary_data_size": len(given.data)}
            document["parameters"] = {"binary_data_output": True}
        elif given.files is not None:
            tensor["parameters"] = {"content_type": "base64"}
            tensor["data"] = [base64.b64encode(file).decode() for file in given.files]
        else:
            assert given.values is not None
            tensor["data"] = _flat_numbers(given.values)
        if self.output is not None:
            wanted: dict[str, Any] = {"name": self.output}
            # Triton heeds binary_data_output only where it is left to choose the outputs.
            binary = {"binary_data": True} if request.binary else {}
            if chosen := {**binary, **self._output_parameters}:
                wanted["parameters"] = chosen
            document["outputs"] = [wanted]
        tail = given.data if request.binary else None
        return self._post(dumps(document), tail, given.number)

    @property
    def output(self) -> str | None:
        """Return the name of the output that is asked for; None for the only one."""
        return self._tensors.output if self._tensors else self._output

    def input_tensor(self, images: NDArray[np.uint8]) -> InputTensor:
        """Return what is sent about ``[N, H, W, C]``."""
        tensors, request = self._tensors, self._description.request
        assert tensors is not None  # the endpoint asks `question` first
        files: list[bytes] | None = None
        values: NDArray[Any] | None = None
        if tensors.datatype == "BYTES":
            files = [encode_file(image, self._description.image) for image in images]
            shape = [len(files), 1] if len(tensors.shape or ()) == 2 else [len(files)]
            data = b"".join(struct.pack("<I", len(file)) + file for file in files)
        else:
            wanted_channels = request.tensor.channels or images.shape[3]
            layout = request.layout or _layout(tensors.shape, wanted_channels)
            _check_size(tensors.shape, layout, images.shape)
            if "N" not in layout and len(images) > 1:
                raise SuspectConfigError(
                    "request.batch_size: expected 1, since the model takes one image at a time "
                    f"({layout}), got {request.batch_size}"
                )
            values = request.tensor.tensor(
                images, layout, _INPUT_DTYPES[tensors.datatype], _channels(tensors.shape, layout)
            )
            shape = list(values.shape)
            data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        return InputTensor(
            name=tensors.input,
            datatype=tensors.datatype,
            shape=shape,
            data=data,
            files=files,
            values=values,
            number=hashlib.sha256(data).hexdigest()[:32],
        )

    def inference(self, body: bytes, headers: Mapping[str, str]) -> Inference:
        """Read the output that was asked for.

        Raises:
            AskAgainError: The answer is cut short.
            SuspectError: It is not what the protocol says.
        """
        length, tail = headers.get(LENGTH_HEADER), b""
        if length is not None:
            num_bytes = number_of_bytes(length)
            if num_bytes is None:
                raise SuspectError(
                    f"answer: expected a number of bytes in {LENGTH_HEADER}, got another text"
                )
            if num_bytes > len(body):
                raise AskAgainError(f"an answer cut short after {len(body)} bytes")
            body, tail = body[:num_bytes], body[num_bytes:]
        document = read_json(body)
        found = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(found, list) or not found:
            raise SuspectError(f"answer: expected outputs, got {excerpt(body)!r}")
        outputs = read_outputs(found, tail)
        number = document.get("id")
        told = {
            key: str(document[key])
            for key in ("model_name", "model_version")
            if document.get(key) is not None
        }
        return Inference(
            output=chosen_output(outputs, self.output),
            id=number if isinstance(number, str) else None,
            metadata=told,
        )

    def _post(self, header: bytes, tail: bytes | None, number: str) -> WireRequest:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if tail is not None:
            headers = {
                "Content-Type": "application/octet-stream",
                "Accept": "*/*",
                LENGTH_HEADER: str(len(header)),
            }
        return WireRequest(
            method="POST",
            url=self._description.url,
            headers={**headers, **self._description.headers},
            body=header + (tail or b""),
            id=number,
        )


def chosen_output(outputs: Mapping[str, OutputTensor], wanted: str | None) -> OutputTensor:
    """Return the output that was asked for, or the only one.

    Raises:
        SuspectError: There is no such one.
    """
    return outputs[_chosen(outputs, wanted, "answer.output", error=SuspectError)]


def number_of_bytes(text: str) -> int | None:
    """Return what `LENGTH_HEADER` says; None where that is no number that bytes could have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _flat_numbers(values: NDArray[Any]) -> JsonText:
    """Return all numbers in one JSON list; image by image, since each has few distinct ones."""
    texts = [nested_numbers(part.ravel()).text[1:-1] for part in values]
    return JsonText(f"[{','.join(texts)}]")


def _described(document: Any, key: str) -> dict[str, dict[str, Any]]:
    """Return the tensors of the metadata by name; none where the server describes none."""
    tensors = document.get(key) if isinstance(document, dict) else None
    if not isinstance(tensors, list):
        return {}
    return {
        tensor["name"]: tensor
        for tensor in tensors
        if isinstance(tensor, dict) and isinstance(tensor.get("name"), str)
    }


def _chosen(
    known: Mapping[str, Any],
    wanted: str | None,
    field: str,
    error: type[SuspectError] = SuspectConfigError,
) -> str:
    """Return the name that the file says, or the only one."""
    if wanted is None and len(known) == 1:
        return next(iter(known))
    if wanted not in known:
        raise error(f"{field}: expected one of {', '.join(known)}, got {wanted or 'nothing'}")
    return str(wanted)


def _layout(shape: tuple[int, ...] | None, channels: int) -> Layout:
    """Return the axes that a shape of the metadata stands for.

    Args:
        shape: Of the input, -1 for any.
        channels: Of the images; where no axis has so many, 1 or 3 tell the channels, too.
    """
    for known in ({channels}, {1, 3}):
        match shape:
            case (_, first, _, last) if (first in known) != (last in known):
                return "NCHW" if first in known else "NHWC"
            case (first, _, last) if (first in known) != (last in known):
                return "CHW" if first in known else "HWC"
    if shape is not None and len(shape) == 3 and channels == 1:
        return "NHW"
    found = "none" if shape is None else list(shape)
    raise SuspectConfigError(
        f'request.layout: expected axes, such as "NCHW", since the server\'s shape does not tell '
        f"them, got nothing (shape {found})"
    )


def _channels(shape: tuple[int, ...] | None, layout: Layout) -> Literal[1, 3] | None:
    """Return the channels that the server says it takes."""
    if shape is None or len(shape) != len(layout) or "C" not in layout:
        return None
    match shape[layout.index("C")]:
        case 1:
            return 1
        case 3:
            return 3
    return None


def _check_size(shape: tuple[int, ...] | None, layout: Layout, images: tuple[int, ...]) -> None:
    """Refuse images of another size than the server says, before it does so less clearly."""
    axes = layout.replace("(", "").replace(")", "")
    if shape is None or len(shape) != len(axes) or "(" in layout:
        return
    wanted = tuple(shape[axes.index(axis)] for axis in "HW")
    if any(side not in (-1, found) for side, found in zip(wanted, images[1:3], strict=True)):
        raise SuspectConfigError(
            f"image.size: expected {list(wanted)} as the server says, got {list(images[1:3])}; "
            f"set image.size = {list(wanted)}"
        )
