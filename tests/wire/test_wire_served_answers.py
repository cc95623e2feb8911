"""Servers of one's own model: what is read from an answer, and what is none."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.wire_server import IMAGES, Ask, asking

from adapters.suspect import SuspectError, SuspectThrottledError

PREDICT = "/v1/models/m:predict"
VERTEX_PATH = "/v1/projects/p/locations/r/endpoints/e:predict"


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    """Return a function from a format, a path, tables and an answer to endpoint and server."""
    with asking(tmp_path, httpserver) as start:
        yield start


@pytest.mark.parametrize(
    ("tables", "answer", "message"),
    [
        ("", '{"error": "no model"}', r"expected rows, got an error: .*no model"),
        ("", '{"error": {"code": 3}}', "expected rows, got an error"),
        ("", '{"detail": "no"}', r"answer.path: expected rows at 'predictions.*got none in"),
        ("[request]\nbatch_size = 2", '{"predictions": [1]}', "expected a list of 2, .* got 1"),
        ("[request]\nbatch_size = 2", '{"predictions": [1, 2, 0]}', "a list of 2, .* got 3"),
        ("[request]\nbatch_size = 2", '{"predictions": 1}', "a list of 2, .* got a number"),
        ("", '{"predictions": []}', "expected rows at 'predictions.*got none in"),
        ("", '{"predictions": [[0.5, 0.5]]}', "expected 3 scores per image, .*, got 2"),
        ("", '{"predictions": [[0.1, 0.2, 0.3, 0.4]]}', "expected 3 scores per image, .*, got 4"),
        ("", '{"predictions": [3]}', "label: expected a class from 0 to 2, got 3"),
        ("", '{"predictions": ["cow"]}', "label: expected one of cat, dog, horse, got 'cow'"),
        ("", '{"predictions": [true]}', "expected a label or scores per image, got true or false"),
        ("", '{"predictions": [[[0.1], [0.2], [0.7]]]}', "expected a label or scores per image"),
        ("", '{"predictions": [0.5]}', "expected a label or scores per image, got a number"),
        ("", '{"predictions": {"a": [[1, 0, 0]], "b": [1]}}', "answer.name: .* one of a, b"),
        ('[answer]\nname = "c"', '{"predictions": {"a": [1], "b": [1]}}', "one of a, b, got 'c'"),
        ("", '{"predictions": [[{"label": "cat"}]]}', "expected 'score' in each entry"),
        (
            "",
            '{"predictions": [[{"label": "cat", "score": "1"}, {"label": "dog", "score": 0}]]}',
            "expected a number as the score of 'cat', got a text",
        ),
        (
            "",
            '{"predictions": [[{"label": 1, "score": 1}, {"label": "1", "score": 0}]]}',
            "an answer names '1' more than once",
        ),
        (
            "",
            '{"predictions": [[{"label": "cat", "score": 1}, {"label": "cat", "score": 0}]]}',
            "an answer names 'cat' more than once; write it in class_names",
        ),
        ('[answer]\nkind = "labels"', '{"predictions": [[1, 0, 0]]}', "expected a label per image"),
        ('[answer]\nkind = "top_k"', '{"predictions": [1]}', 'write kind = "labels"'),
        ('[answer]\nkind = "top_k"', '{"predictions": [[1, 0, 0]]}', 'write kind = "auto"'),
        (
            '[answer]\nkind = "probabilities"',
            '{"predictions": [{"dog": 0.9}]}',
            "expected 3 probabilities, got 1",
        ),
        (
            '[answer]\nkind = "probabilities"',
            '{"predictions": [[9.0, 90.0, 1.0]]}',
            "probabilities that add up to 1, got a sum of 100",
        ),
        ('[answer]\nkind = "probabilities"', '{"predictions": [null]}', "got none for one"),
        ('[answer]\nkind = "logits"', '{"predictions": [[1, 2]]}', "expected 3 scores per image"),
    ],
)
def test_an_answer_that_is_not_what_the_file_says_is_refused(
    ask: Ask, tables: str, answer: str, message: str
) -> None:
    endpoint, _ = ask("kserve_v1", PREDICT, tables, body=answer.encode())
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[: endpoint.batch_size])


def test_numbers_of_old_tensorflow_servers_are_read(ask: Ask) -> None:
    # TensorFlow Serving 1.8 wrote a point behind an exponent; no text may be mended along.
    body = b'{"note": "1e-07.0 cats", "predictions": [[6e-07.0, 0.9, 0.1]]}'
    endpoint, _ = ask("kserve_v1", PREDICT, '[answer]\nkind = "probabilities"', body=body)
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [1]
    assert predictions.log_probabilities is not None
    assert np.exp(predictions.log_probabilities[0]) == pytest.approx([6e-7, 0.9, 0.1])


def test_an_empty_answer_is_not_a_refusal(ask: Ask) -> None:
    endpoint, _ = ask("azure_ml", "/score", "", body=b"[]")
    with pytest.raises(SuspectError, match="expected a list of 1, one per image, got 0"):
        endpoint.predict(IMAGES[:1])


def test_a_run_that_failed_inside_a_success_is_an_error(ask: Ask) -> None:
    headers = {"x-ms-run-function-failed": "True"}
    endpoint, _ = ask("azure_ml", "/score", "", body=b"1", headers=headers)
    with pytest.raises(SuspectError, match="got a run that failed"):
        endpoint.predict(IMAGES[:1])


def test_torchserves_own_error_inside_a_success_is_an_error(ask: Ask) -> None:
    body = b'{"code": 404, "type": "ModelNotFoundException", "message": "Model not found: m"}'
    endpoint, _ = ask("torchserve", "/predictions/m", "", body=body)
    with pytest.raises(SuspectError, match=r"expected classes, got an error: .*Model not found"):
        endpoint.predict(IMAGES[:1])


def test_vertex_tells_which_model_answered(ask: Ask) -> None:
    body = {
        "predictions": [{"displayNames": ["cat"], "confidences": [0.9]}],
        "deployedModelId": "71",
        "model": "projects/1/models/2",
        "modelVersionId": "3",
        "modelDisplayName": "pets",
    }
    endpoint, _ = ask("vertex", VERTEX_PATH, "", body=json.dumps(body).encode())
    told = endpoint.predict(IMAGES[:1]).metadata
    assert {name: told[name] for name in told if not name.startswith("header.")} == {
        "deployed_model_id": "71",
        "model": "projects/1/models/2",
        "model_version_id": "3",
        "model_display_name": "pets",
    }


def test_lists_of_vertex_that_do_not_fit_together_are_refused(ask: Ask) -> None:
    body = b'{"predictions": [{"displayNames": ["cat", "dog"], "confidences": [0.9]}]}'
    endpoint, _ = ask("vertex", VERTEX_PATH, "", body=body)
    with pytest.raises(SuspectError, match="expected 2 confidences, one per name, got 1"):
        endpoint.predict(IMAGES[:1])


def test_a_server_that_is_full_is_asked_later(ask: Ask) -> None:
    body = b'{"error": "Too many requests"}'
    endpoint, _ = ask("bentoml", "/classify", "", body=body, status=429)
    with pytest.raises(SuspectThrottledError, match="status 429"):
        endpoint.predict(IMAGES[:1])
