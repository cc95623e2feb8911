"""Triton's classification: its best classes as texts, with and without names."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.open_inference import ALL_SAID, answer, asking_v2, metadata
from worlds.servers.wire_server import IMAGES, Ask, asking

from adapters.suspect import Capability, SuspectError


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    """Return a function from tables and an answer to endpoint and server."""
    with asking(tmp_path, httpserver) as start:
        yield asking_v2(start)


def test_triton_is_asked_for_the_best_classes(ask: Ask) -> None:
    texts = ["0.5:1:hund", "0.25:0:katze", "0.75:2:pferd", "0.125:1:hund"]
    output = {"name": "probs", "shape": [2, 2], "datatype": "BYTES", "data": texts}
    endpoint, server = ask(
        ALL_SAID,
        'output = "probs"\nclasses = 2',
        name="triton_classification",
        reply=answer([output]),
    )
    assert endpoint.capability is Capability.TOP_K
    predictions = endpoint.predict(IMAGES)
    assert predictions.labels.tolist() == [1, 2]
    told = predictions.log_probabilities
    assert told is not None
    assert np.exp(told) == pytest.approx(
        np.array([[0.25, 0.5, np.nan], [np.nan, 0.125, 0.75]]), nan_ok=True
    )
    assert json.loads(server.seen[0].body)["outputs"] == [
        {"name": "probs", "parameters": {"classification": 2, "binary_data": False}}
    ]


def test_tritons_values_that_are_no_probabilities_tell_the_best_class_only(ask: Ask) -> None:
    output = {"name": "probs", "shape": [1, 2], "datatype": "BYTES", "data": ["7.5:1", "-3:0"]}
    endpoint, _ = ask(ALL_SAID, "classes = 2", name="triton_classification", reply=answer([output]))
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [1]
    assert predictions.log_probabilities is not None
    assert np.isnan(predictions.log_probabilities).all()


def test_tritons_labels_may_be_names(ask: Ask) -> None:
    output = {"name": "probs", "shape": [1, 1], "datatype": "BYTES", "data": ["12.5:0:dog:s"]}
    described = metadata([-1, 3, 1, 2])
    endpoint, _ = ask(
        "",
        'label = "name"',
        name="triton_classification",
        described=described,
        reply=answer([output]),
    )
    assert endpoint.capability is Capability.LABELS
    with pytest.raises(SuspectError, match="expected one of cat, dog, horse, got 'dog:s'"):
        endpoint.predict(IMAGES[:1])


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("0.5", "index", "expected value:index"),
        ("cat:1", "index", "expected value:index"),
        ("nan:1", "index", "expected value:index"),
        ("0.5:-1", "index", "expected value:index"),
        (3, "index", "expected value:index"),
        ("0.5:1", "name", "answer.label: expected a name in '0.5:1', got none"),
        ("0.5:3", "index", "label: expected a class from 0 to 2, got 3"),
    ],
)
def test_texts_that_are_no_classes_are_refused(
    ask: Ask, text: object, label: str, message: str
) -> None:
    output = {"name": "probs", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    table = f'label = "{label}"'
    endpoint, _ = ask(ALL_SAID, table, name="triton_classification", reply=answer([output]))
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[:1])
