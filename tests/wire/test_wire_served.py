"""Servers of one's own model: every byte of the request, and what is read from the answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_httpserver import HTTPServer
from worlds.servers.wire_server import (
    CHW,
    HWC,
    IMAGES,
    Ask,
    asking,
    pixels,
    without_images,
)

from adapters.suspect import Capability, SuspectConfigError

PIXELS = "[request.tensor]\nscale = 1"
NHWC = f'{PIXELS}\nlayout = "NHWC"'
PREDICT = "/v1/models/m:predict"
VERTEX_PATH = "/v1/projects/p/locations/r/endpoints/e:predict"


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    """Return a function from a format, a path, tables and an answer to endpoint and server."""
    with asking(tmp_path, httpserver) as start:
        yield start


@pytest.mark.parametrize(
    ("name", "path", "tables", "num", "body", "answer", "labels"),
    [
        (
            "kserve_v1",
            PREDICT,
            f"[request]\nbatch_size = 4\n{NHWC}",
            2,
            f'{{"instances":[{HWC[0]},{HWC[1]}]}}',
            '{"predictions": [[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]}',
            [1, 2],
        ),
        (
            "kserve_v1",
            PREDICT,
            '[request]\nbatch_size = 4\nimage = "b64"\nfield = "image"\n'
            'extra = { signature_name = "serve" }',
            2,
            '{"signature_name":"serve","instances":[{"image":{"b64":"<0>"}},{"image":{"b64":"<1>"}}]}',
            '{"predictions": ["dog", "cat"]}',
            [1, 0],
        ),
        (
            "kserve_v1",
            PREDICT,
            '[request]\nimage = "b64"\n[answer]\nname = "probabilities"',
            1,
            '{"instances":[{"b64":"<0>"}]}',
            '{"predictions": [{"classes": 0, "probabilities": [0.1, 0.2, 0.7]}]}',
            [2],
        ),
        (
            "kserve_v1",
            PREDICT,
            '[request]\nkey = "inputs"\ncolumns = true\nfield = "x"\nbatch_size = 2\n'
            f'{PIXELS}\n[answer]\nname = "classes"',
            2,
            f'{{"inputs":{{"x":[{CHW[0]},{CHW[1]}]}}}}',
            '{"outputs": {"classes": [2, 0], "probabilities": [[0, 0, 1], [1, 0, 0]]}}',
            [2, 0],
        ),
        (
            "kserve_v1",
            PREDICT,
            f'[request]\nkey = "inputs"\nbatch_size = 2\n{PIXELS}',
            2,
            f'{{"inputs":[{CHW[0]},{CHW[1]}]}}',
            '{"outputs": [[1.5, -2.0, 3.0], [0, 9, 1]]}',
            [2, 1],
        ),
        (
            "mlflow",
            "/invocations",
            f"[request]\nbatch_size = 2\n{PIXELS}",
            2,
            f'{{"inputs":[{CHW[0]},{CHW[1]}]}}',
            '{"predictions": {"probs": [[0.9, 0.1, 0.0], [0.0, 0.1, 0.9]]}}',
            [0, 2],
        ),
        (
            "mlflow",
            "/invocations",
            f'[request]\nkey = "instances"\n{PIXELS}\n[answer]\nname = "p"',
            1,
            f'{{"instances":[{CHW[0]}]}}',
            '{"predictions": [{"p": [0.9, 0.1, 0.0], "q": 1}]}',
            [0],
        ),
        (
            "torchserve",
            "/predictions/m/1.0",
            '[request]\nform = "json"\nfield = "data"\nbatch_size = 2\n'
            '[answer]\npath = "predictions"',
            2,
            '{"instances":[{"data":"<0>"},{"data":"<1>"}]}',
            '{"predictions": [{"dog": 0.6, "cat": 0.4}, {"horse": 1}]}',
            [1, 2],
        ),
        (
            "azure_ml",
            "/score",
            f"[request]\nbatch_size = 2\n{NHWC}",
            2,
            f'{{"data":[{HWC[0]},{HWC[1]}]}}',
            "[1, 2]",
            [1, 2],
        ),
        (
            "azure_ml",
            "/score",
            '[request]\nkey = "image"\nimage = "base64"\nsingle = true\n'
            '[answer]\npath = "result.label"',
            1,
            '{"image":"<0>"}',
            '{"result": {"label": "horse"}}',
            [2],
        ),
        (
            "vertex",
            VERTEX_PATH,
            "[request]\nbatch_size = 2",
            2,
            '{"parameters":{"confidenceThreshold":0.0,"maxPredictions":1000},"instances":['
            '{"content":"<0>","mimeType":"image/png"},{"content":"<1>","mimeType":"image/png"}]}',
            '{"predictions": [{"ids": ["7", "8"], "displayNames": ["dog", "cat"], '
            '"confidences": [0.4, 0.5]}, {"ids": [], "displayNames": [], "confidences": []}]}',
            [0, -1],
        ),
        (
            "vertex",
            VERTEX_PATH,
            f'[request]\nimage = "tensor"\nfield = "x"\nextra = {{}}\n{PIXELS}\n'
            '[answer]\nkind = "auto"',
            1,
            f'{{"instances":[{{"x":{CHW[0]}}}]}}',
            '{"predictions": [[0.0, 0.5, 0.25]]}',
            [1],
        ),
        (
            "litserve",
            "/predict",
            PIXELS,
            1,
            f'{{"input":{CHW[0]}}}',
            '{"output": 2}',
            [2],
        ),
        (
            "bentoml",
            "/classify",
            f'[request]\nform = "json"\nkey = "x"\nbatch_size = 2\n{PIXELS}',
            2,
            f'{{"x":[{CHW[0]},{CHW[1]}]}}',
            "[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]",
            [0, 2],
        ),
        (
            "generic",
            "/classify",
            '[request]\ntemplate = \'{"a": ["{{image_array}}"], "b": 1}\'\nbatch_size = 2\n'
            f'{NHWC}\n[answer]\nlabel = "out"',
            2,
            f'{{"a":[{HWC[0]},{HWC[1]}],"b":1}}',
            '{"out": ["dog", null]}',
            [1, -1],
        ),
    ],
)
def test_json_goes_and_comes_as_documented(
    ask: Ask,
    name: str,
    path: str,
    tables: str,
    num: int,
    body: str,
    answer: str,
    labels: list[int],
) -> None:
    endpoint, server = ask(name, path, tables, body=answer.encode())
    assert endpoint.predict(IMAGES[:num]).labels.tolist() == labels
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", path)
    assert without_images(seen.body) == body.encode()
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("name", "path", "tables", "answer", "label"),
    [
        ("torchserve", "/predictions/m", "", '{"dog": 0.5,\n "cat": 0.3, "horse": 0.2}', 1),
        (
            "bentoml",
            "/classify",
            '[request]\nform = "raw"\n[answer]\npath = "label"',
            '{"label": "cat"}',
            0,
        ),
        ("azure_ml", "/score", '[request]\nform = "raw"', '"horse"', 2),
    ],
)
def test_an_image_file_may_be_the_body(
    ask: Ask, name: str, path: str, tables: str, answer: str, label: int
) -> None:
    endpoint, server = ask(name, path, tables, body=answer.encode())
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [label]
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", path)
    assert seen.headers["Content-Type"] == "image/png"
    assert np.array_equal(pixels(seen.body), IMAGES[0])


@pytest.mark.parametrize(
    ("name", "path", "part", "tables", "answer"),
    [
        ("bentoml", "/classify", "image", "", '"dog"'),
        ("bentoml", "/classify", "photo", '[request]\npart = "photo"', '{"dog": 0.9, "cat": 0.1}'),
        (
            "torchserve",
            "/predictions/m",
            "data",
            '[request]\nform = "multipart"\n[answer]\nkind = "labels"',
            "1",
        ),
        (
            "litserve",
            "/predict",
            "request",
            '[request]\nform = "multipart"',
            '{"output": {"label": "dog", "score": 0.7}}',
        ),
        ("bentoml", "/classify", "image", "", '{"label": 1, "score": 0.7}'),
        (
            "bentoml",
            "/classify",
            "image",
            "",
            '[{"label": 2, "score": 0.3}, {"label": 1, "score": 0.7}]',
        ),
    ],
)
def test_an_image_file_may_be_a_field_of_a_form(
    ask: Ask, name: str, path: str, part: str, tables: str, answer: str
) -> None:
    endpoint, server = ask(name, path, tables, body=answer.encode())
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [1]
    seen = server.seen[0]
    kind, _, boundary = seen.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{part}"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    assert seen.body.startswith(head)
    assert seen.body.endswith(tail)
    assert np.array_equal(pixels(seen.body[len(head) : -len(tail)]), IMAGES[0])


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        # ln 0.25, ln 0.5, ln 0.25
        ("probabilities", "[[0.25, 0.5, 0.25]]", [-1.3862944, -0.6931472, -1.3862944]),
        (
            "probabilities",
            '[{"horse": 0.25, "dog": 0.5, "cat": 0.25}]',
            [-1.3862944, -0.6931472, -1.3862944],
        ),
        (
            "probabilities",
            '[[{"label": 2, "score": 0.25}, {"label": 1, "score": 0.5}, '
            '{"label": 0, "score": 0.25}]]',
            [-1.3862944, -0.6931472, -1.3862944],
        ),
        # logits 0, ln 2, 0: exp is 1, 2, 1, the sum 4
        ("logits", "[[0.0, 0.6931472, 0.0]]", [-1.3862944, -0.6931472, -1.3862944]),
        # exp(2000) would overflow
        ("logits", "[[1000, 2000, 1000]]", [-1000.0, 0.0, -1000.0]),
    ],
)
def test_scores_are_used_as_the_file_says_what_they_are(
    ask: Ask, kind: str, answer: str, expected: list[float]
) -> None:
    tables = f'[answer]\nkind = "{kind}"'
    endpoint, _ = ask(
        "mlflow", "/invocations", tables, body=f'{{"predictions": {answer}}}'.encode()
    )
    assert endpoint.capability is Capability.PROBABILITIES
    predictions = endpoint.predict(IMAGES[:1])
    assert predictions.labels.tolist() == [1]
    assert predictions.log_probabilities == pytest.approx(np.array([expected]))


@pytest.mark.parametrize(
    ("kind", "capability"),
    [("auto", Capability.LABELS), ("labels", Capability.LABELS), ("top_k", Capability.TOP_K)],
)
def test_nothing_is_called_a_probability_unless_the_file_says_so(
    ask: Ask, kind: str, capability: Capability
) -> None:
    endpoint, _ = ask("azure_ml", "/score", f'[answer]\nkind = "{kind}"')
    assert endpoint.capability is capability


def test_the_normalisation_is_that_of_the_file(ask: Ask) -> None:
    tables = '[request.tensor]\nmean = [0.0, 0.2, 0.4]\nstd = [1.0, 0.5, 0.25]\ncolor_order = "BGR"'
    endpoint, server = ask("mlflow", "/invocations", tables, body=b'{"predictions": [1]}')
    endpoint.predict(IMAGES[:1])
    ((blue,), (green,), (red,)) = json.loads(server.seen[0].body)["inputs"][0]
    # (0, 51, 102) and (153, 204, 255) over 255 are (0, 0.2, 0.4) and (0.6, 0.8, 1.0)
    assert blue == pytest.approx([(0.4 - 0.4) / 0.25, (1.0 - 0.4) / 0.25], abs=1e-6)
    assert green == pytest.approx([(0.2 - 0.2) / 0.5, (0.8 - 0.2) / 0.5], abs=1e-6)
    assert red == pytest.approx([0.0, 0.6], abs=1e-6)


def test_a_normalisation_for_other_channels_is_refused_before_anything_is_sent(ask: Ask) -> None:
    tables = "[request.tensor]\nmean = [0.1, 0.2, 0.3]"
    endpoint, server = ask("mlflow", "/invocations", tables)
    with pytest.raises(SuspectConfigError, match=r"request.tensor: mean: expected one value or 1"):
        endpoint.predict(IMAGES[:1, :, :, :1])
    assert not server.seen


@pytest.mark.parametrize(
    ("name", "path", "tables", "message"),
    [
        (
            "kserve_v1",
            "/v1/models/m",
            "",
            r"line 3: url: expected an address that ends in :predict",
        ),
        (
            "vertex",
            "/v1/endpoints/e",
            "",
            r"line 3: url: expected an address that ends in :predict",
        ),
        ("kserve_v1", PREDICT, '[request]\nkey = "input"', r"line 5: request.key: expected"),
        ("kserve_v1", PREDICT, '[request]\nform = "raw"', r"line 5: request.form: expected 'json'"),
        ("mlflow", "/i", "[request]\nbatchsize = 2", r"line 5: .* did you mean batch_size\?"),
        ("mlflow", "/i", "[request.tensor]\nmaen = 2", r"line 5: .*maen: .* did you mean mean\?"),
        (
            "mlflow",
            "/i",
            "[request.tensor]\nmean = [0.1, 0.2]",
            r"line 5: request.tensor.mean: exp",
        ),
        ("mlflow", "/i", "[request.tensor]\nstd = [0.0]", r"std: expected positive numbers"),
        ("mlflow", "/i", '[answer]\nkind = "logit"', r"line 5: answer.kind: expected"),
        ("mlflow", "/i", '[answer]\npath = "a["', r"line 5: answer.path: expected a JMESPath"),
        ("mlflow", "/i", "[request]\ncolumns = true", r"field: expected the name of the input"),
        ("mlflow", "/i", "[request]\nextra = { a = 2026-01-01 }", r"extra: expected JSON values"),
        ("litserve", "/i", "[request]\nbatch_size = 2", r"batch_size: expected 1 where the body"),
        ("mlflow", "/i", '[image]\nencoding = "jpeg"', r"image.encoding: expected png"),
        (
            "generic",
            "/i",
            "[request]\ntemplate = ['x{{image_array}}']\n[answer]\nlabel = 'a'",
            r"request.template: expected \{\{image_array\}\} as a text of its own",
        ),
        (
            "generic",
            "/i",
            "[request]\ntemplate = ['{{image_base64_png}}']\n[request.tensor]\n"
            "[answer]\nlabel = 'a'",
            r"request.tensor: expected \{\{image_array\}\} in the template",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    ask: Ask, name: str, path: str, tables: str, message: str
) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask(name, path, tables)
