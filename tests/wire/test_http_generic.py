"""The wire format ``generic``: every byte of the request, and what is read from the answer."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worlds.servers.http_faults import Reply, ScriptedServer, scripted_server

from adapters.http.opening import open_endpoint
from adapters.http.suspect import JPEG_WARNING, HttpEndpoint
from adapters.suspect import Capability, SuspectConfigError, SuspectError

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (3, 8, 6, 3), dtype=np.uint8)
Ask = Callable[..., tuple[HttpEndpoint, ScriptedServer]]


def file_text(url: str, request: str, answer: str = 'label = "label"', more: str = "") -> str:
    return (
        f'format = "generic"\nurl = "{url}"\nretries = 0\nclass_names = ["cat", "dog", "horse"]\n'
        f"[request]\n{request}\n[answer]\n{answer}\n{more}\n"
    )


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Return a function from tables and one reply to an endpoint and the server behind it."""
    with ExitStack() as stack:

        def start(
            request: str,
            answer: str = 'label = "label"',
            more: str = "",
            body: bytes = b'{"label": "dog"}',
        ) -> tuple[HttpEndpoint, ScriptedServer]:
            server = stack.enter_context(scripted_server(Reply(body=body)))
            path = tmp_path / "endpoint.toml"
            path.write_text(file_text(server.url, request, answer, more), encoding="utf-8")
            endpoint = open_endpoint(path)
            stack.callback(endpoint.close)
            return endpoint, server

        yield start


def pixels(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(
    "request_table",
    [
        """template = '{"inputs": [{"data": "{{image_base64_png}}", "top": 1}]}'""",
        'template = { inputs = [{ data = "{{image_base64_png}}", top = 1 }] }',
        '[[request.template.inputs]]\ndata = "{{image_base64_png}}"\ntop = 1',
    ],
    ids=["JSON text", "inline table", "tables"],
)
def test_a_template_carries_the_exact_pixels(ask: Ask, request_table: str) -> None:
    endpoint, server = ask(request_table)
    endpoint.predict(IMAGES[:1])
    (received,) = server.received
    body = json.loads(received.body)
    image = body["inputs"][0].pop("data")
    assert body == {"inputs": [{"top": 1}]}
    assert np.array_equal(pixels(base64.b64decode(image)), IMAGES[0])
    assert received.headers["Content-Type"] == "application/json"
    assert (received.method, received.path) == ("POST", "/classify")


def test_a_placeholder_may_stand_in_a_data_url(ask: Ask) -> None:
    endpoint, server = ask('template = ["data:image/png;base64,{{image_base64_png}}"]')
    endpoint.predict(IMAGES[:1])
    (text,) = json.loads(server.received[0].body)
    assert text.startswith("data:image/png;base64,iVBOR")


def test_raw_bytes_are_a_png_file(ask: Ask) -> None:
    endpoint, server = ask("raw = true", more='[headers]\nX-Deployment = "blue"')
    endpoint.predict(IMAGES[:1])
    (received,) = server.received
    assert received.headers["Content-Type"] == "image/png"
    assert received.headers["X-Deployment"] == "blue"
    assert np.array_equal(pixels(received.body), IMAGES[0])


def test_a_multipart_form_has_the_image_and_the_other_fields(ask: Ask) -> None:
    endpoint, server = ask('multipart = "imageData"\nform = { top_k = "1" }')
    endpoint.predict(IMAGES[:1])
    (received,) = server.received
    assert received.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    boundary = received.headers["Content-Type"].partition("boundary=")[2].encode()
    _, first, second, end = received.body.split(b"--" + boundary)
    assert first == b'\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n1\r\n'
    head, _, file = second.partition(b"\r\n\r\n")
    assert b'name="imageData"; filename="image.png"\r\nContent-Type: image/png' in head
    assert np.array_equal(pixels(file.removesuffix(b"\r\n")), IMAGES[0])
    assert end == b"--\r\n"


def test_a_batch_repeats_the_list_around_the_placeholder(ask: Ask) -> None:
    endpoint, server = ask(
        'template = { inputs = [{ data = ["{{image_base64_png}}", 7] }] }\nbatch_size = 4',
        'label = "map(&label, out)"',
        body=b'{"out": [{"label": "cat"}, {}, {"label": "horse"}]}',
    )
    assert endpoint.batch_size == 4
    assert endpoint.predict(IMAGES).labels.tolist() == [0, -1, 2]
    sent = json.loads(server.received[0].body)["inputs"]
    assert len(sent) == 3
    for element, image in zip(sent, IMAGES, strict=True):
        assert np.array_equal(pixels(base64.b64decode(element["data"][0])), image)


def test_an_answer_shorter_than_its_batch_is_refused(ask: Ask) -> None:
    endpoint, _ = ask(
        'template = ["{{image_base64_png}}"]\nbatch_size = 4',
        'label = "out"',
        body=b'{"out": ["cat", "dog"]}',
    )
    with pytest.raises(SuspectError, match=r"answer.label: expected a list of 3, .*, got 2"):
        endpoint.predict(IMAGES)


@pytest.mark.parametrize(
    "body",
    [
        b'{"label": "dog", "p": [0.25, 0.75, 0.0]}',
        b'{"label": "dog", "p": {"horse": 0.0, "cat": 0.25, "dog": 0.75}}',
    ],
    ids=["by index", "by label"],
)
def test_scores_become_log_probabilities_in_the_order_of_the_bundle(ask: Ask, body: bytes) -> None:
    endpoint, _ = ask("raw = true", 'label = "label"\nscores = "p"', body=body)
    assert endpoint.capability is Capability.PROBABILITIES
    found = endpoint.predict(IMAGES[:1]).log_probabilities
    # ln 0.25, ln 0.75 and ln 1e-12, which stands for a rounded 0
    assert found == pytest.approx(np.array([[-1.3862944, -0.2876821, -27.6310211]]))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("[0.5, 0.5]", "scores: expected 3 probabilities, got 2; an audit needs all classes"),
        ("[50, 25, 25]", "scores: expected probabilities that add up to 1, got a sum of 100"),
        ("[1.5, -0.5, 0]", "scores: expected probabilities that add up to 1"),
        ('["half", 0, 0.5]', "answer.scores: expected a list of numbers or an object"),
        ("null", "answer.scores: expected a list of numbers or an object .*, got null"),
        ('{"cat": 0.5, "dog": 0.5, "cow": 0}', "scores: expected 3 probabilities, got 2"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(ask: Ask, scores: str, message: str) -> None:
    body = f'{{"label": "cat", "p": {scores}}}'.encode()
    endpoint, _ = ask("raw = true", 'label = "label"\nscores = "p"', body=body)
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(IMAGES[:1])


def test_what_the_server_says_about_itself_is_kept(ask: Ask) -> None:
    endpoint, _ = ask(
        "raw = true",
        'label = "label"\nmetadata = { model = "model.version", variant = "variant" }',
        body=b'{"label": "cat", "model": {"version": 7}}',
    )
    assert endpoint.predict(IMAGES[:1]).metadata == {"model": "7"}


def test_images_are_resized_to_what_the_endpoint_takes(ask: Ask) -> None:
    endpoint, server = ask("raw = true", more='[image]\nsize = [16, 12]\nresampling = "nearest"')
    endpoint.predict(IMAGES[:1])
    # 8 x 6 to 16 x 12: the nearest pixel is each pixel twice in both directions
    expected = IMAGES[0].repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(pixels(server.received[0].body), expected)
    assert endpoint.identity.details["image_size"] == "16x12"


def test_grey_images_stay_grey(ask: Ask) -> None:
    endpoint, server = ask("raw = true", more="[image]\nsize = [8, 6]")
    endpoint.predict(IMAGES[:1, :, :, :1])
    assert np.array_equal(pixels(server.received[0].body), IMAGES[0, :, :, 0])


def test_jpeg_is_sent_with_a_warning_in_the_identity(ask: Ask) -> None:
    endpoint, server = ask("raw = true", more='[image]\nencoding = "jpeg"')
    endpoint.predict(IMAGES[:1])
    assert server.received[0].body.startswith(b"\xff\xd8\xff")
    assert endpoint.identity.details["warning"] == JPEG_WARNING


@pytest.mark.parametrize(
    ("request_table", "more", "message"),
    [
        ("", "", r"line 5: request: expected one of template, raw and multipart, got 0"),
        ("raw = true\nmultipart = 'x'", "", r"request: expected one of template, raw .*, got 2"),
        ("template = '{\"a\": '", "", r"line 6: request.template: expected JSON, got a mistake"),
        ("template = '{\"a\": 1}'", "", r"expected \{\{image_base64_png\}\} once, got it 0 times"),
        (
            "template = ['{{image_base64_png}}', '{{image_base64_png}}']",
            "",
            r"request.template: expected \{\{image_base64_png\}\} once, got it 2 times",
        ),
        (
            "template = ['{{image}}']",
            "",
            r"expected the placeholder \{\{image_base64_png\}\}, got \{\{image\}\}",
        ),
        (
            "template = ['{{image_base64_png}}']",
            "[image]\nencoding = 'jpeg'",
            r"expected the placeholder \{\{image_base64_jpeg\}\}, got \{\{image_base64_png\}\}",
        ),
        (
            "template = ['{{image_base64_png}}', 2026-01-01]",
            "",
            r"request.template: expected JSON values, got a date",
        ),
        (
            "template = { a = '{{image_base64_png}}' }\nbatch_size = 2",
            "",
            r"request.template: expected a list of one element around",
        ),
        ("raw = true\nbatch_size = 2", "", r"batch_size: expected 1 without a template, got more"),
        ("raw = true\nform = { a = 'b' }", "", r"request.form: expected multipart beside it"),
    ],
)
def test_a_request_that_cannot_be_built_is_refused_before_anything_is_sent(
    tmp_path: Path, request_table: str, more: str, message: str
) -> None:
    path = tmp_path / "endpoint.toml"
    path.write_text(file_text("http://127.0.0.1:1/", request_table, more=more), encoding="utf-8")
    with pytest.raises(SuspectConfigError, match=message):
        open_endpoint(path)
