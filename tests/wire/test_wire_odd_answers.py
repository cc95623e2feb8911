"""Whatever a server answers, a format reads it, asks again or refuses it; nothing else happens."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.wire_format import (
    AskAgainError,
    ReadsRefusals,
    SelfConfiguring,
    WireAnswer,
    WireFormat,
)
from adapters.http.endpoint_file import known_formats, read_endpoint_file
from adapters.suspect import SuspectError
from audit.endpoint.template import endpoint_template

WORDS = [
    "predictions",
    "outputs",
    "id",
    "name",
    "shape",
    "datatype",
    "data",
    "error",
    "status",
    "code",
    "label",
    "score",
    "probability",
    "tagName",
    "tagType",
    "displayNames",
    "confidences",
    "CustomLabels",
    "Name",
    "Confidence",
    "concepts",
    "value",
    "class",
    "confidence",
    "parameters",
    "binary_data_size",
    "output",
    "cat",
    "dog",
    "horse",
    "model_version",
]
SCALARS = [None, True, 0, 1, -1, 3, 10**400, 0.5, 1e308, "", "cat", "0.5:1", "a:b", 10000, "FP32"]
READ = "read"
METADATA = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 4, 4]}],
    "outputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 3]}],
}
FORMATS = [name for name in known_formats() if name != "open_inference_grpc"]
"""Its answers are no JSON; `tests/http/test_grpc_endpoint.py` spoils them."""
RIGHT: dict[str, Any] = {
    "azure_custom_vision": {"predictions": [{"tagName": "cat", "probability": 0.9}]},
    "azure_ml": [[0.1, 0.2, 0.7]],
    "bentoml": {"label": "cat", "score": 0.5},
    "chat_completions": {
        "choices": [{"message": {"content": "A cat."}, "finish_reason": "stop"}],
        "model": "m",
    },
    "clarifai": {
        "status": {"code": 10000},
        "outputs": [
            {"status": {"code": 10000}, "data": {"concepts": [{"name": "cat", "value": 0.5}]}}
        ],
    },
    "generic": {"predictions": [{"label": "cat"}]},
    "huggingface": [{"label": "cat", "score": 0.5}],
    "kserve_v1": {"predictions": [[0.1, 0.2, 0.7]]},
    "litserve": {"output": 1},
    "mlflow": {"predictions": {"p": [[0.1, 0.2, 0.7]]}},
    "ollama": {"model": "m", "message": {"content": "A cat."}, "done": True},
    "open_inference_v2": {
        "id": "a",
        "outputs": [{"name": "p", "shape": [1, 3], "datatype": "FP32", "data": [0.1, 0.2, 0.7]}],
    },
    "rekognition": {"CustomLabels": [{"Name": "cat", "Confidence": 90.5}]},
    "roboflow": {"predictions": [{"class": "cat", "confidence": 0.5}]},
    "sagemaker": {"predictions": [[0.1, 0.2, 0.7]]},
    "torchserve": {"cat": 0.5, "dog": 0.5},
    "triton_classification": {
        "id": "a",
        "outputs": [{"name": "p", "shape": [1, 1], "datatype": "BYTES", "data": ["0.5:1"]}],
    },
    "vertex": {"predictions": [{"displayNames": ["cat"], "confidences": [0.5]}]},
}


def described(folder: Path, name: str) -> EndpointDescription:
    path = folder / "endpoint.toml"
    path.write_text(endpoint_template(name), encoding="utf-8")
    return read_endpoint_file(path)


def read_format(folder: Path, name: str) -> WireFormat:
    found = described(folder, name).wire_format(3)
    if isinstance(found, SelfConfiguring):
        found.learn(json.dumps(METADATA).encode())
    return found


def anything(rng: random.Random, depth: int = 0) -> Any:
    """Return a JSON value made of the words that answers are made of."""
    choice = rng.random()
    if depth > 4 or choice < 0.35:
        return rng.choice(SCALARS)
    items = [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    if choice < 0.65:
        return items
    return dict(zip(rng.choices(WORDS, k=len(items)), items, strict=True))


def spoiled(rng: random.Random, value: Any) -> Any:
    """Return a right answer with one part of it replaced, left out or doubled."""
    if not value or not isinstance(value, dict | list) or rng.random() < 0.15:
        return anything(rng, 3)
    copy = value.copy()
    keys = list(copy) if isinstance(copy, dict) else list(range(len(copy)))
    key = rng.choice(keys)
    match rng.randrange(5):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, list):
            copy.append(copy[key])
        case _:
            copy[key] = spoiled(rng, copy[key])
    return copy


def outcome(wire_format: WireFormat, body: bytes, headers: dict[str, str]) -> str:
    try:
        answer = wire_format.decode(body, headers, 1)
    except (SuspectError, AskAgainError) as error:
        return str(error)
    assert isinstance(answer, WireAnswer)
    (label,) = answer.labels
    assert label is None or type(label) in (int, str)
    return READ


@pytest.mark.parametrize("name", FORMATS)
def test_the_right_answer_is_read(tmp_path: Path, name: str) -> None:
    body = json.dumps(RIGHT[name]).encode()
    assert outcome(read_format(tmp_path, name), body, {}) == READ


Make = Callable[[random.Random, str], Any]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "make",
    [lambda rng, name: spoiled(rng, RIGHT[name]), lambda rng, name: anything(rng)],
    ids=["nearly right", "anything"],
)
def test_an_odd_answer_is_read_or_refused(tmp_path: Path, name: str, make: Make) -> None:
    wire_format, rng = read_format(tmp_path, name), random.Random(7)
    found = [outcome(wire_format, json.dumps(make(rng, name)).encode(), {}) for _ in range(400)]
    assert all(found)  # whoever refuses says why
    assert name == "generic" or set(found) != {READ}


@pytest.mark.parametrize("name", FORMATS)
def test_broken_bytes_are_refused(tmp_path: Path, name: str) -> None:
    wire_format, rng = read_format(tmp_path, name), random.Random(11)
    body = json.dumps(RIGHT[name]).encode()
    for _ in range(100):
        cut = bytearray(body[: rng.randrange(len(body))])
        for _ in range(rng.randrange(3)):
            if cut:
                cut[rng.randrange(len(cut))] = rng.randrange(256)
        length = str(rng.randrange(2 * len(body)))
        headers = {"Inference-Header-Content-Length": length} if rng.random() < 0.5 else {}
        outcome(wire_format, bytes(cut), headers)


ODD_VALUES = ["", " ", "\xb2", "-1", "7" * 5000, "1e999", "true", "#:", "\x9b2J", "http://["]


@pytest.mark.parametrize("name", FORMATS)
def test_odd_headers_are_read_or_refused(tmp_path: Path, name: str) -> None:
    wire_format, body = read_format(tmp_path, name), json.dumps(RIGHT[name]).encode()
    for header in ("Inference-Header-Content-Length", "x-ms-run-function-failed"):
        for value in ODD_VALUES:
            assert outcome(wire_format, body, {header: value})


@pytest.mark.parametrize("name", FORMATS)
def test_an_odd_refusal_is_read_or_left_to_its_status(tmp_path: Path, name: str) -> None:
    wire_format, rng = read_format(tmp_path, name), random.Random(17)
    if not isinstance(wire_format, ReadsRefusals):
        return
    bodies = [b"", b"[" * 100_000, b"7" * 5000, b"\xff", b'{"__type": "\\u001b[2J"}']
    bodies += [
        json.dumps({key: anything(rng) for key in ("__type", "estimated_time")}).encode()
        for _ in range(200)
    ]
    for body in bodies:
        for value in ODD_VALUES:
            refusal = wire_format.refusal(503, {"x-amzn-ErrorType": value}, body)
            assert isinstance(refusal, AskAgainError | SuspectError | None)


@pytest.mark.parametrize("name", FORMATS)
def test_broken_metadata_names_what_is_missing(tmp_path: Path, name: str) -> None:
    rng = random.Random(13)
    told = []
    description = described(tmp_path, name)
    for _ in range(200):
        wire_format = description.wire_format(3)
        if not isinstance(wire_format, SelfConfiguring):
            return
        try:
            wire_format.learn(json.dumps(spoiled(rng, METADATA)).encode())
        except (SuspectError, AskAgainError) as error:
            told.append(str(error))
    assert all(told)
