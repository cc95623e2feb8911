"""``kinprint endpoint check``: what it asks, shows and finds, against a real server."""

import base64
import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest_httpserver import HTTPServer
from worlds.allowed import open_allowed
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import Done, run
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents
from worlds.servers.wire_server import Seen, WireServer, wire_server

from adapters.endpoint.grants import origin_of
from adapters.http.opening import open_endpoint
from adapters.suspect import Capability, SuspectError
from audit.endpoint.check import check_endpoint, check_plan
from audit.endpoint.shown_exchange import request_lines, shown_body
from audit.errors import AuditError

SECRET = "sk-very-secret-0123456789"
NAMES = ["cat", "dog", "frog", "ship"]
BUNDLE = audited_contents()
TRUTH = {
    image.tobytes(): int(label)
    for image, label in zip(BUNDLE.arrays.controls, BUNDLE.arrays.control_labels, strict=True)
}
FILE = 'format = "huggingface"\nurl = "{url}/models/m"\nretries = 1\n{fields}\n{tables}\n'
Serve = Callable[..., tuple[Path, WireServer]]


def image_of(seen: Seen) -> np.ndarray:
    file = base64.b64decode(json.loads(seen.body)["inputs"])
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture)


def nearest(image: np.ndarray) -> int:
    """Return the class of the control image that is most like this one, at half the size if
    it is twice as large."""
    if image.shape[0] == 16:
        image = image[::2, ::2]
    controls = BUNDLE.arrays.controls.astype(int)
    distances = np.abs(controls - image.astype(int)).sum(axis=(1, 2, 3))
    return int(BUNDLE.arrays.control_labels[distances.argmin()])


def scores(best: int) -> bytes:
    rows = [{"label": name, "score": 0.7 if i == best else 0.1} for i, name in enumerate(NAMES)]
    return json.dumps(rows).encode()


def right(seen: Seen) -> bytes:
    return scores(nearest(image_of(seen)))


@pytest.fixture
def serve(tmp_path: Path, httpserver: HTTPServer) -> Serve:
    """Return a function from what answers to an endpoint file and the server."""

    def start(
        reply: Callable[[Seen], bytes] = right, fields: str = "", tables: str = "", **settings: Any
    ) -> tuple[Path, WireServer]:
        server = wire_server(httpserver, reply=reply, **settings)
        path = tmp_path / "vendor.toml"
        text = FILE.format(url=server.url, fields=fields, tables=tables)
        path.write_text(text, encoding="utf-8")
        return path, server

    return start


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "owner.pub"
    path.write_bytes(OWNER_KEY.public_key.pem)
    return path


def run_check(path: Path, trust: Path, *more: str, **environment: str) -> Done:
    arguments = ["endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", trust, *more]
    return run(*arguments, **environment)


def test_a_check_shows_request_and_answer_and_finds_a_good_endpoint_good(
    serve: Serve, trust: Path
) -> None:
    path, server = serve(tables='[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"')
    leave = f"env:VENDOR_KEY@{origin_of(server.url)}"
    done = run_check(path, trust, "--allow", leave, VENDOR_KEY=SECRET)
    assert done.returncode == 0, done.stderr
    assert "Authorization: Bearer ***" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert '{"inputs":"iVBORw0KGgoAAAAN...<' in done.stdout
    assert '"label": "cat", "score": 0.7' in done.stdout
    # Clopper-Pearson for 8 of 8: (0.05 / 2) ** (1 / 8) = 0.631
    assert "8 of 8 right, 100% (95 % interval 63% to 100%); the source: 75%" in done.stdout
    assert 'kind = "probabilities" under [answer] would use them' in done.stdout
    assert "asks at most 32 images in 32 requests" in done.stdout  # 8 controls and 24 queries
    # 8 controls, 8 of them as JPEG, 8 enlarged
    assert "the check asks at most 24 images in 24 requests" in done.stderr
    assert len(server.seen) == 24
    assert {seen.headers["Authorization"] for seen in server.seen} == {f"Bearer {SECRET}"}


def test_only_control_images_are_sent(serve: Serve) -> None:
    path, server = serve()
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    check_endpoint(BUNDLE, endpoint, 3)
    endpoint.close()
    sent = [image_of(seen) for seen in server.seen]
    assert len(sent) == 9
    assert [image.tobytes() in TRUTH for image in sent[:3]] == [True] * 3
    queries = {query.tobytes() for query in BUNDLE.arrays.queries}
    assert not queries & {image.tobytes() for image in sent}
    assert {image.shape for image in sent[6:]} == {(16, 16, 3)}


def test_too_few_right_control_images_end_with_their_own_status(serve: Serve, trust: Path) -> None:
    path, _ = serve(lambda seen: scores((nearest(image_of(seen)) + 1) % 4))
    done = run_check(path, trust)
    assert done.returncode == 15
    assert "0 of 8 right" in done.stdout
    assert "An audit would stop here" in done.stdout
    # All answers are one class further, so another order of the classes makes all right.
    assert "With the classes in another order 8 of 8 would be right" in done.stdout


def test_the_document_holds_what_the_page_shows(serve: Serve, trust: Path) -> None:
    path, _ = serve(fields='requests_per_second = 1000\nprice_per_request = 0.5\ncurrency = "EUR"')
    done = run_check(path, trust, "--json", "--num", "4", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    assert told["controls"]["num_correct"] == told["controls"]["num_images"] == 4
    assert told["capability"] == "top_k"
    assert told["latency"]["num_requests"] == 4
    assert 0 < told["latency"]["median_s"] <= told["latency"]["p95_s"]
    assert [each["name"] for each in told["alterations"]] == ["jpeg", "enlarged"]
    assert told["audit"]["num_requests"] == 32
    assert float(told["audit"]["cost"]) == 16.0
    assert told["audit"]["seconds"] == pytest.approx(31 / 1000)
    assert told["request"][0].startswith("POST http://")
    assert told["answer"][0] == "status 200"


@pytest.mark.parametrize(("typed", "status", "num_sent"), [("n", 2, 0), ("y", 0, 6)])
def test_a_terminal_is_asked_before_money_is_spent(
    serve: Serve, trust: Path, typed: str, status: int, num_sent: int
) -> None:
    path, server = serve(fields='price_per_request = 0.5\ncurrency = "EUR"')
    arguments = ["endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", trust]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kinprint", *map(str, arguments), "--num", "2"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            if b"Start?" in piece:
                assert not server.seen
                os.write(ours, f"{typed}\n".encode())
            shown += piece
    os.close(ours)
    assert process.wait() == status
    assert b"6 requests and costs 3.00 EUR" in shown
    assert len(server.seen) == num_sent


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("max_requests = 5", "max_requests: expected enough for 6 requests, got 5; ask fewer"),
        (
            'price_per_request = 0.5\ncurrency = "EUR"\nmax_cost = 2.9',
            "max_cost: expected enough for 3.00 EUR, got 2.90 EUR; ask fewer images with --num",
        ),
    ],
)
def test_a_check_keeps_within_the_limits_of_the_file(
    serve: Serve, trust: Path, fields: str, message: str
) -> None:
    path, server = serve(fields=fields)
    done = run_check(path, trust, "--num", "2")
    assert done.returncode == 2
    assert message in done.stderr
    assert not server.seen


def test_retries_of_a_check_keep_within_the_limits_too(serve: Serve) -> None:
    def reply(seen: Seen) -> bytes:
        server.status = 500 if len(server.seen) % 2 else 200  # every first attempt fails
        return right(seen)

    path, server = serve(reply, fields="max_requests = 6")
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    with pytest.raises(AuditError, match="max_requests: expected enough for 7 requests, got 6"):
        check_endpoint(BUNDLE, endpoint, 4)
    endpoint.close()
    assert len(server.seen) == 6


def test_what_comes_back_is_shown_also_where_it_cannot_be_read(serve: Serve, trust: Path) -> None:
    path, _ = serve(lambda seen: b'{"error": "model is broken"}')
    done = run_check(path, trust)
    assert done.returncode == 14
    assert "status 200" in done.stdout
    assert "model is broken" in done.stdout
    assert "expected a list of classes" in done.stderr


def test_a_refused_request_is_shown_with_what_the_server_said(serve: Serve, trust: Path) -> None:
    path, _ = serve(lambda seen: b'{"detail": "no such field"}', status=422)
    done = run_check(path, trust)
    assert done.returncode == 2
    assert "status 422" in done.stdout
    assert "no such field" in done.stderr


def test_nobody_there_is_unreachable(tmp_path: Path, trust: Path) -> None:
    path = tmp_path / "vendor.toml"
    path.write_text(FILE.format(url="http://127.0.0.1:9", fields="concurrency = 1", tables=""))
    done = run_check(path, trust)
    assert done.returncode == 14
    assert "no connection" in done.stderr


@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_endpoint_that_takes_one_size_only_says_so(serve: Serve, status: int) -> None:
    def reply(seen: Seen) -> bytes:
        is_large = image_of(seen).shape[0] == 16
        server.status = status if is_large else 200
        return b'{"error": "8x8 only"}' if is_large else right(seen)

    path, server = serve(reply)
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    found = check_endpoint(BUNDLE, endpoint, 4)
    endpoint.close()
    jpeg, enlarged = found.alterations
    assert (jpeg.refusal, jpeg.num_images) == (None, 4)
    assert f"status {status}" in (enlarged.refusal or "")
    assert len(server.seen) == 9  # asked once, not again and again
    assert found.is_comparable


def test_jpeg_that_changes_labels_is_counted(serve: Serve) -> None:
    exact = {image.tobytes() for image in BUNDLE.arrays.controls}

    def reply(seen: Seen) -> bytes:
        image = image_of(seen)
        return right(seen) if image.tobytes() in exact else scores((nearest(image) + 1) % 4)

    path, _ = serve(reply, tables='[answer]\nkind = "probabilities"')
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    found = check_endpoint(BUNDLE, endpoint, 4)
    endpoint.close()
    assert (found.num_correct, found.capability) == (4, Capability.PROBABILITIES)
    jpeg = found.alterations[0]
    assert (jpeg.num_changed, jpeg.num_correct) == (4, 0)
    assert jpeg.largest_shift == pytest.approx(0.6)  # from 0.7 to 0.1 and back
    assert found.advice is None


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ([3.5, -1.0, 0.0, 2.0], r"do not add up to 1: if they are logits, kind = \"logits\""),
        ([0.5, 0.25, 0.125, 0.125], r"add up to 1 in every answer: kind = \"probabilities\""),
    ],
)
def test_answers_that_hold_more_than_is_used_are_pointed_out(
    tmp_path: Path, httpserver: HTTPServer, values: list[float], advice: str
) -> None:
    body = json.dumps({"predictions": [values, values]}).encode()
    server = wire_server(httpserver, body=body)
    path = tmp_path / "served.toml"
    path.write_text(f'format = "mlflow"\nurl = "{server.url}/i"\n[request]\nbatch_size = 2\n')
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    assert check_plan(BUNDLE, endpoint, 8).num_requests == 8  # numbers are not enlarged
    found = check_endpoint(BUNDLE, endpoint, 8)
    endpoint.close()
    assert re.search(advice, found.advice or "")
    assert found.num_requests == 4
    assert [each.name for each in found.alterations] == ["jpeg"]


def test_a_vendor_that_scales_small_images_up_is_noted(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    tags = [{"probability": 0.25, "tagName": name} for name in NAMES]
    server = wire_server(httpserver, body=json.dumps({"predictions": tags}).encode())
    path = tmp_path / "vendor.toml"
    url = f"{server.url}/classify/iterations/i/image/nostore"
    path.write_text(f'format = "azure_custom_vision"\nurl = "{url}"\n')
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    found = check_endpoint(BUNDLE, endpoint, 2)
    endpoint.close()
    assert found.notes == (
        "The vendor scales images under 256 pixels up, and these have 8x8: what it does to them "
        "is part of what is asked.",
    )


def test_resizing_before_sending_is_noted_and_not_tried_again(serve: Serve) -> None:
    path, server = serve(lambda seen: scores(0), tables="[image]\nsize = [24, 16]")
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    found = check_endpoint(BUNDLE, endpoint, 2)
    endpoint.close()
    assert {image_of(seen).shape for seen in server.seen} == {(24, 16, 3)}
    assert [each.name for each in found.alterations] == ["jpeg"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Images are resized from 8x8 to 24x16 before they leave")


def test_long_bodies_are_cut_and_bytes_are_only_counted(serve: Serve) -> None:
    path, _ = serve()
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    numbers = json.dumps({"data": [i / 7 for i in range(3000)]}, separators=(",", ":")).encode()
    shown = shown_body(endpoint, numbers, "application/json")
    assert shown.startswith('{"data":[0.0,0.142')
    assert shown.endswith("...]}")
    assert len(shown) < 300
    assert shown_body(endpoint, b"\x89PNG\xff", "image/png") == "<5 bytes, image/png>"
    assert shown_body(endpoint, b"\x1b[31m" + b"x " * 900, "").endswith("...<1805 bytes in all>")
    assert "\x1b" not in shown_body(endpoint, b"\x1b[31m", "")
    endpoint.close()


def test_a_long_body_with_a_secret_is_cut_where_it_holds_none(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)
    path, _ = serve(tables='[auth]\nenv = "VENDOR_KEY"')
    endpoint = open_allowed(path, bundle_classes=NAMES)
    image = base64.b64encode(SECRET.encode() + bytes(300_000)).decode()
    body = json.dumps({"key": SECRET, "image": image, "end": SECRET}).encode()
    shown = shown_body(endpoint, body, "application/json")
    kind = shown_body(endpoint, b"\xff", f"image/\x1b[2J{SECRET}; q=1")
    endpoint.close()
    assert shown == f'{{"key": "***", "image": "<{len(image)} characters>", "end": "***"}}'
    assert kind == "<1 bytes, image/?[2J***>"


def test_numbers_after_the_json_are_only_counted(tmp_path: Path, httpserver: HTTPServer) -> None:
    def reply(seen: Seen) -> bytes:
        size = int(seen.headers["Inference-Header-Content-Length"])
        output = {"name": "p", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 0]}
        return json.dumps({"id": json.loads(seen.body[:size])["id"], "outputs": [output]}).encode()

    server = wire_server(httpserver, reply=reply)
    path = tmp_path / "triton.toml"
    path.write_text(
        f'format = "open_inference_v2"\nurl = "{server.url}/v2/models/m/infer"\n[request]\n'
        'input = "x"\ndatatype = "FP32"\nlayout = "NCHW"\nbinary = true\n'
    )
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    lines = request_lines(endpoint, check_endpoint(BUNDLE, endpoint, 1).exchange)
    endpoint.close()
    assert '"shape":[1,3,8,8]' in lines[-1]
    assert lines[-1].endswith("}<768 bytes>")  # 3 x 8 x 8 numbers of 4 bytes


def test_plain_http_with_credentials_needs_a_word(tmp_path: Path, trust: Path) -> None:
    path = tmp_path / "vendor.toml"
    tables = '[auth]\nenv = "VENDOR_KEY"'
    text = FILE.format(url="http://vendor.invalid", fields="", tables=tables)
    path.write_text(text.replace("retries = 1", "retries = 0"))
    refused = run_check(path, trust, VENDOR_KEY=SECRET)
    assert refused.returncode == 2
    assert "url: expected https, got http with credentials" in refused.stderr
    leave = ("--insecure", "--allow", "env:VENDOR_KEY@http://vendor.invalid")
    allowed = run_check(path, trust, *leave, VENDOR_KEY=SECRET)
    assert allowed.returncode == 14  # no such host


def test_a_missing_variable_is_named(tmp_path: Path, trust: Path) -> None:
    path = tmp_path / "vendor.toml"
    tables = '[auth]\nenv = "NO_SUCH_KEY"'
    path.write_text(FILE.format(url="https://vendor.invalid", fields="", tables=tables))
    done = run_check(path, trust)
    assert done.returncode == 2
    assert "environment variable NO_SUCH_KEY, got nothing" in done.stderr


def test_an_endpoint_that_goes_away_is_no_crash(serve: Serve) -> None:
    def reply(seen: Seen) -> bytes:
        return right(seen) if len(server.seen) < 3 else b"<html>gone</html>"

    path, server = serve(reply)
    endpoint = open_endpoint(path, bundle_classes=NAMES)
    with pytest.raises(SuspectError, match="got a web page"):
        check_endpoint(BUNDLE, endpoint, 8)
    endpoint.close()
