"""Vendors' own formats: every byte of the request, and what is read from the answer."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.wire_server import (
    IMAGES,
    WireServer,
    opened,
    pixels,
    wire_server,
    without_images,
)

from adapters.http.suspect import HttpEndpoint
from adapters.suspect import (
    Capability,
    SuspectConfigError,
    SuspectError,
    SuspectThrottledError,
)

SECRET = "k3y-of-the-vendor"
HF = "/hf-inference/models/owner/model"
CV = "/customvision/v3.1/prediction/p/classify/iterations/it/image/nostore"
CLARIFAI = "/v2/users/u/apps/a/models/m/versions/v/outputs"
ROBOFLOW = "/pets/3"
ALL = 'kind = "probabilities"'
Ask = Callable[..., tuple[HttpEndpoint, WireServer]]


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Return a function from a format, a path and tables to an endpoint and the server."""
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    endpoints: list[HttpEndpoint] = []

    def start(
        name: str, path: str, tables: str = "", **settings: Any
    ) -> tuple[HttpEndpoint, WireServer]:
        server = wire_server(httpserver, **settings)
        text = f'format = "{name}"\nurl = "{server.url}{path}"\n{tables}\n'
        endpoints.append(opened(tmp_path, text))
        return endpoints[-1], server

    yield start
    for endpoint in endpoints:
        endpoint.close()


def auth(header: str = "Authorization", scheme: str = "") -> str:
    return f'[auth]\nheader = "{header}"\nscheme = "{scheme}"\nenv = "VENDOR_KEY"\n'


def clarifai(*images: list[tuple[str, float]]) -> bytes:
    outputs = [
        {
            "status": {"code": 10000},
            "model": {"id": "m", "model_version": {"id": "v7"}},
            "data": {"concepts": [{"id": f"ai_{n}", "name": n, "value": v} for n, v in concepts]},
        }
        for concepts in images
    ]
    return json.dumps({"status": {"code": 10000}, "outputs": outputs}).encode()


def test_hugging_face_is_asked_for_as_many_classes_as_there_are(ask: Ask) -> None:
    body = b'[{"label": "dog", "score": 0.5}, {"label": "cat", "score": 0.25}, ' + (
        b'{"label": "horse", "score": 0.25}]'
    )
    endpoint, server = ask("huggingface", HF, auth(scheme="Bearer") + f"[answer]\n{ALL}", body=body)
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [1]
    assert predictions.log_probabilities == pytest.approx(np.log([[0.25, 0.5, 0.25]]))
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", HF)
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["Authorization"] == f"Bearer {SECRET}"
    assert without_images(seen.body) == b'{"inputs":"<0>","parameters":{"top_k":3}}'


def test_hugging_face_takes_the_file_alone_and_gives_its_best(ask: Ask) -> None:
    body = b'[{"label": "cat", "score": 0.3}, {"label": "horse", "score": 0.6}]'
    endpoint, server = ask("huggingface", HF, '[request]\nform = "raw"', body=body)
    assert endpoint.capability is Capability.TOP_K
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [2]  # the best one, wherever it stands
    expected = np.log([[0.3, np.nan, 0.6]])  # nothing is made up for the class that is left out
    assert predictions.log_probabilities == pytest.approx(expected, nan_ok=True)
    assert server.seen[0].headers["Content-Type"] == "image/png"
    assert np.array_equal(pixels(server.seen[0].body), IMAGES[0])


def test_hugging_face_gives_logits_on_request(ask: Ask) -> None:
    body = b'[[{"label": "dog", "score": 1}, {"label": "cat", "score": 0}, ' + (
        b'{"label": "horse", "score": 0}]]'
    )
    tables = '[request]\nfunction_to_apply = "none"\n[answer]\nkind = "logits"'
    endpoint, server = ask("huggingface", HF, tables, body=body)
    total = np.log(np.e + 2)  # of exp(1), exp(0), exp(0)
    found = endpoint.predict(IMAGES[:1]).log_probabilities
    assert found == pytest.approx(np.array([[-total, 1 - total, -total]]))
    assert json.loads(server.seen[0].body)["parameters"] == {
        "top_k": 3,
        "function_to_apply": "none",
    }


def test_hugging_face_says_how_long_a_model_is_loaded(ask: Ask) -> None:
    body = b'{"error": "Model is currently loading", "estimated_time": 300.5}'
    endpoint, _ = ask("huggingface", HF, body=body, status=503)
    with pytest.raises(SuspectThrottledError, match=r"currently loading.* resume in 30[01] s"):
        endpoint.predict(IMAGES[:1])


def test_custom_vision_gets_the_file_and_keeps_no_copy(ask: Ask) -> None:
    tags = [("cat", 0.25, "Regular"), ("dog", 0.75, "Regular"), ("horse", 0.0, "Regular")]
    document = {
        "id": "1",
        "project": "p1",
        "iteration": "i2",
        "created": "2026-01-01",
        "predictions": [
            {"probability": p, "tagId": "x", "tagName": name, "tagType": kind}
            for name, p, kind in tags
        ],
    }
    tables = auth("Prediction-Key") + f"[answer]\n{ALL}"
    endpoint, server = ask("azure_custom_vision", CV, tables, body=json.dumps(document).encode())
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [1]
    # ln 0.25, ln 0.75 and ln 1e-12, which stands for a rounded 0
    expected = [[-1.3862944, -0.2876821, -27.6310211]]
    assert predictions.log_probabilities == pytest.approx(np.array(expected))
    assert (predictions.metadata["project"], predictions.metadata["iteration"]) == ("p1", "i2")
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", CV)
    assert seen.headers["Content-Type"] == "application/octet-stream"
    assert seen.headers["Prediction-Key"] == SECRET
    assert np.array_equal(pixels(seen.body), IMAGES[0])


def test_custom_visions_tag_for_none_of_them_is_a_refusal(ask: Ask) -> None:
    body = (
        b'{"predictions": [{"probability": 0.7, "tagName": "Other", "tagType": "Negative"}, '
        b'{"probability": 0.3, "tagName": "cat", "tagType": "Regular"}]}'
    )
    endpoint, _ = ask("azure_custom_vision", CV, body=body)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [-1]


def test_clarifai_takes_several_images_at_once(ask: Ask) -> None:
    body = clarifai([("cat", 0.4), ("dog", 0.6)], [("horse", 0.5), ("cat", 0.2)])
    tables = auth(scheme="Key") + "[request]\nbatch_size = 32"
    endpoint, server = ask("clarifai", CLARIFAI, tables, body=body)
    assert (endpoint.batch_size, endpoint.capability) == (32, Capability.TOP_K)
    predictions = endpoint.predict(IMAGES)
    assert predictions.labels.tolist() == [1, 2]
    assert predictions.metadata["model_version_id"] == "v7"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", CLARIFAI)
    assert seen.headers["Authorization"] == f"Key {SECRET}"
    assert without_images(seen.body) == (
        b'{"inputs":[{"data":{"image":{"base64":"<0>"}}},{"data":{"image":{"base64":"<1>"}}}],'
        b'"model":{"output_info":{"output_config":{"max_concepts":3}}}}'
    )


def test_clarifais_concepts_may_be_called_by_their_ids(ask: Ask) -> None:
    tables = '[class_names]\nai_cat = "cat"\nai_dog = "dog"\nai_horse = "horse"\n'
    tables += '[answer]\nlabel = "id"'
    endpoint, _ = ask("clarifai", CLARIFAI, tables, body=clarifai([("dog", 0.6), ("cat", 0.4)]))
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [1]


@pytest.mark.parametrize("code", [10030, 11003, 11005])
def test_clarifais_later_inside_a_success_is_later(ask: Ask, code: int) -> None:
    body = f'{{"status": {{"code": {code}, "description": "throttled"}}}}'.encode()
    endpoint, _ = ask("clarifai", CLARIFAI, body=body)
    with pytest.raises(SuspectThrottledError, match=f"status.code {code}"):
        endpoint.predict(IMAGES[:1])


def test_one_image_that_clarifai_could_not_read_fails_the_batch(ask: Ask) -> None:
    document = json.loads(clarifai([("dog", 0.6)]))
    document["status"]["code"] = 10010
    document["outputs"].append({"status": {"code": 30002}, "data": None})
    body = json.dumps(document).encode()
    endpoint, _ = ask("clarifai", CLARIFAI, "[request]\nbatch_size = 2", body=body)
    with pytest.raises(SuspectError, match=r"answer.status.code: expected 10000, got 30002"):
        endpoint.predict(IMAGES)


@pytest.mark.parametrize(
    "predictions",
    [
        '[{"class": "cat", "confidence": 0.3}, {"class": "dog", "confidence": 0.7}]',
        '{"cat": {"confidence": 0.3}, "dog": {"confidence": 0.7}}',
    ],
    ids=["single-label", "multi-label"],
)
def test_roboflow_gets_nothing_but_the_image_in_base64(ask: Ask, predictions: str) -> None:
    body = f'{{"time": 0.2, "predictions": {predictions}, "top": "dog"}}'.encode()
    endpoint, server = ask("roboflow", ROBOFLOW, auth(scheme="Bearer"), body=body)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [1]
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", ROBOFLOW)
    assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert seen.headers["Authorization"] == f"Bearer {SECRET}"
    assert np.array_equal(pixels(base64.b64decode(seen.body, validate=True)), IMAGES[0])


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("huggingface", HF, b"[]"),
        ("azure_custom_vision", CV, b'{"predictions": []}'),
        ("clarifai", CLARIFAI, clarifai([])),
        ("roboflow", ROBOFLOW, b'{"predictions": []}'),
    ],
)
def test_an_empty_list_is_a_refusal_to_classify(
    ask: Ask, name: str, path: str, body: bytes
) -> None:
    endpoint, _ = ask(name, path, body=body)
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [-1]


@pytest.mark.parametrize(
    ("name", "path", "tables", "body", "message"),
    [
        ("huggingface", HF, "", '{"error": "bad input"}', "expected a list of classes, got .*bad"),
        ("huggingface", HF, "", '["cat"]', "expected labels with scores"),
        ("huggingface", HF, "", '[{"label": "cat"}]', "expected 'score' in each entry"),
        ("huggingface", HF, "", '[{"label": "cow", "score": 1}]', "got 'cow'"),
        (
            "huggingface",
            HF,
            f"[answer]\n{ALL}",
            '[{"label": "cat", "score": 0.9}]',
            "expected 3 probabilities, got 1",
        ),
        (
            "huggingface",
            HF,
            f"[answer]\n{ALL}",
            '[{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.9}, '
            '{"label": "horse", "score": 0.9}]',
            "add up to 1, got a sum of 2.7",
        ),
        (
            "azure_custom_vision",
            CV,
            "",
            '{"code": "BadRequest"}',
            "expected predictions, got .*Bad",
        ),
        (
            "azure_custom_vision",
            CV,
            "",
            '{"predictions": [{"tagName": "cat"}]}',
            "expected a number as the score of 'cat', got null",
        ),
        ("clarifai", CLARIFAI, "", "{}", "answer.status.code: expected 10000, got none"),
        (
            "clarifai",
            CLARIFAI,
            "",
            '{"status": {"code": 11102, "description": "Invalid request"}}',
            "expected 10000, got 11102 in .*Invalid request",
        ),
        (
            "clarifai",
            CLARIFAI,
            "",
            '{"status": {"code": 10000}, "outputs": []}',
            "expected 1 outputs, one per image, got 0",
        ),
        ("roboflow", ROBOFLOW, "", '{"message": "Forbidden"}', "expected predictions, got .*Forb"),
    ],
)
def test_an_answer_that_is_not_what_is_documented_is_refused(
    ask: Ask, name: str, path: str, tables: str, body: str, message: str
) -> None:
    endpoint, _ = ask(name, path, tables, body=body.encode())
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[:1])


@pytest.mark.parametrize(
    ("name", "path", "tables", "message"),
    [
        (
            "huggingface",
            HF,
            '[request]\nform = "raw"\nfunction_to_apply = "softmax"',
            "request.function_to_apply: expected none beside form = raw",
        ),
        ("huggingface", HF, '[answer]\nkind = "logits"', "answer.kind: expected logits with"),
        (
            "huggingface",
            HF,
            f'[request]\nfunction_to_apply = "none"\n[answer]\n{ALL}',
            "answer.kind: expected logits with",
        ),
        ("azure_custom_vision", "/x/image", "", "line 3: url: expected .../classify/iterations"),
        ("clarifai", "/v2/models/m", "", "line 3: url: expected an address that ends in /outputs"),
        ("clarifai", CLARIFAI, "[request]\nbatch_size = 129", "request.batch_size: .* 128"),
        ("clarifai", CLARIFAI, '[answer]\nlable = "id"', "line 5: answer.lable: .* mean label"),
        ("roboflow", ROBOFLOW + "?api_key=x", "", "expected no secret in it, got .*'api_key'"),
        (
            "roboflow",
            ROBOFLOW,
            '[request]\nform = "raw"',
            "line 4: request: expected no such field",
        ),
    ],
)
def test_a_wrong_field_is_named(ask: Ask, name: str, path: str, tables: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask(name, path, tables)
