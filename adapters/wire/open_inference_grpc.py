"""The wire format ``open_inference_grpc``: Open Inference V2 over gRPC.

Spoken by Triton, KServe, MLServer and OpenVINO Model Server. What the endpoint file leaves open is
asked of ``ModelMetadata``; images go as raw contents, and answers come as raw or typed ones. The
messages are those of the package open-inference-grpc.

Source: KServe, Open Inference Protocol V2, gRPC.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from adapters.endpoint.wire_format import AskAgainError, WireAnswer, WireRequest
from adapters.extras import require
from adapters.payload.answer_rows import capability_of, row_of, wire_answer
from adapters.payload.inference_outputs import read_outputs
from adapters.payload.open_inference import OpenInference, OpenInferenceDescription, chosen_output
from adapters.strict_model import FrozenModel
from adapters.suspect import Capability, SuspectConfigError, SuspectError

if TYPE_CHECKING:
    from open_inference.grpc.protocol import InferTensorContents

TEMPLATE = """\
url = "http://127.0.0.1:8001"  # https:// for TLS; no path
model = "MODEL"
# version = "1"

[request]
batch_size = 8                 # images in one request, at most what the model takes
# input = "input"              # what is left out is asked of the server
# datatype = "FP32"            # "BYTES" sends image files
# layout = "NCHW"              # axes of the input

[request.tensor]
mean = [0.485, 0.456, 0.406]   # after scaling by 1/255; leave both out for 0 to 1
std = [0.229, 0.224, 0.225]

[answer]
# output = "probs"             # which output, if there are several
kind = "auto"                  # "probabilities" or "logits" if that is what the output holds
"""
SERVICE = "/inference.GRPCInferenceService/"
_TYPED = ("fp32", "fp64", "int", "int64", "uint", "uint64", "bytes", "bool")
"""Beginnings of the fields ``..._contents``, one of which holds an output's elements."""


class Answer(FrozenModel):
    """Which output says what."""

    output: Annotated[str, Field(min_length=1)] | None = None
    """Name of the output; needed if there are several."""
    kind: Literal["auto", "labels", "probabilities", "logits"] = "auto"
    """What it holds; ``auto`` takes a label, or the index of the largest number."""


class Description(OpenInferenceDescription):
    """An endpoint file with ``format = "open_inference_grpc"``."""

    format: Literal["open_inference_grpc"]
    model: Annotated[str, Field(min_length=1)]
    version: str = ""
    """Empty: the server chooses."""
    answer: Answer = Answer()

    @property
    def is_grpc(self) -> bool:
        """Requests go over gRPC."""
        return True

    @field_validator("url")
    @classmethod
    def _infers(cls, url: str) -> str:
        if url.partition("://")[2].rstrip("/").count("/") or "?" in url:
            raise ValueError("expected host and port only; name the model as model")
        return url

    @model_validator(mode="after")
    def _fits_grpc(self) -> "Description":
        if self.auth is not None and (self.auth.query or self.auth.cookie):
            raise ValueError("auth: expected a header, which becomes gRPC metadata, got another")
        if "binary" in self.request.model_fields_set and not self.request.binary:
            raise ValueError("request.binary: expected true or none; elements are always bytes")
        return self

    def wire_format(self, num_classes: int) -> "OpenInferenceGrpcFormat":
        """Return what encodes and decodes as the file says.

        Raises:
            SuspectConfigError: The extra is not installed.
        """
        require(
            "grpc",
            "open_inference",
            by='format = "open_inference_grpc"',
            error=SuspectConfigError,
        )
        # Elements are bytes here, also those that JSON cannot carry.
        request = self.request.model_copy(update={"binary": True})
        told = self.model_copy(update={"request": request})
        return OpenInferenceGrpcFormat(told, num_classes)


class OpenInferenceGrpcFormat(OpenInference):
    """Messages of ``ModelMetadata`` and ``ModelInfer``."""

    def __init__(self, description: Description, num_classes: int) -> None:
        """Prepare for a model of K classes."""
        super().__init__(description, description.answer.output)
        self._model, self._version = description.model, description.version
        self._url, self._headers = description.url, description.headers
        self._num_classes, self._kind = num_classes, description.answer.kind
        self._batch_size = description.request.batch_size

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        return self._batch_size

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        return capability_of(self._kind)

    def question(self) -> WireRequest | None:
        """Return the request for the model's metadata; None once it is known."""
        from open_inference.grpc.protocol import ModelMetadataRequest

        if super().question() is None:
            return None
        asked = ModelMetadataRequest(name=self._model, version=self._version)
        return self._request("ModelMetadata", asked.SerializeToString())

    def learn(self, body: bytes) -> None:
        """Read the model's metadata; errors as in `OpenInference.learn`."""
        from open_inference.grpc.protocol import ModelMetadataResponse

        told = _parsed(ModelMetadataResponse, body)
        self.learn_from(
            {
                key: [
                    {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
                    for one in getattr(told, key)
                ]
                for key in ("inputs", "outputs")
            }
        )

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request for ``[N, H, W, C]``."""
        from open_inference.grpc.protocol import ModelInferRequest

        given = self.input_tensor(images)
        message = ModelInferRequest(
            model_name=self._model,
            model_version=self._version,
            id=given.number,
            raw_input_contents=[given.data],
        )
        message.inputs.add(name=given.name, datatype=given.datatype, shape=given.shape)
        if self.output is not None:
            message.outputs.add(name=self.output)
        return self._request("ModelInfer", message.SerializeToString(), given.number)

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read one row per image."""
        from open_inference.grpc.protocol import ModelInferResponse

        told = _parsed(ModelInferResponse, body)
        raw = list(told.raw_output_contents)
        if not told.outputs:
            raise SuspectError("answer: expected outputs, got none")
        if raw and len(raw) != len(told.outputs):
            raise SuspectError(
                f"answer: expected raw contents of {len(told.outputs)} outputs, got {len(raw)}"
            )
        described = [
            {
                "name": one.name,
                "datatype": one.datatype,
                "shape": list(one.shape),
                **(
                    {"parameters": {"binary_data_size": len(raw[index])}}
                    if raw
                    else {"data": _typed(one.contents)}
                ),
            }
            for index, one in enumerate(told.outputs)
        ]
        outputs = read_outputs(described, b"".join(raw))
        rows = [row_of(row) for row in chosen_output(outputs, self.output).rows(num_images)]
        metadata = {
            name: str(getattr(told, name))
            for name in ("model_name", "model_version")
            if getattr(told, name)
        }
        answer = wire_answer(rows, self._kind, self._num_classes, metadata)
        return dataclasses.replace(answer, id=told.id or None)

    def _request(self, method: str, body: bytes, number: str | None = None) -> WireRequest:
        return WireRequest(
            method=SERVICE + method, url=self._url, headers=self._headers, body=body, id=number
        )


def _parsed(kind: Any, body: bytes) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return kind.FromString(body)
    except DecodeError:
        raise AskAgainError("a message that is none of the protocol") from None


def _typed(contents: "InferTensorContents") -> list[Any]:
    """Return the elements that an output holds in a field of their type."""
    for name in _TYPED:
        if found := list(getattr(contents, f"{name}_contents")):
            if name != "bytes":
                return found
            try:
                return [text.decode() for text in found]
            except UnicodeDecodeError:
                raise SuspectError("answer: expected UTF-8 texts, got other bytes") from None
    return []
