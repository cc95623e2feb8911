"""Secrets that stand in an endpoint file itself: masked like others, and their author is told."""

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE
from worlds.servers.wire_server import IMAGES, opened, wire_server

from adapters.endpoint.written_secrets import written_secrets
from adapters.http.endpoint_file import read_endpoint_file
from adapters.suspect import SuspectError

SECRET = "tr0ub4dor-and-3"
TEMPLATE = (
    f'[request]\ntemplate = \'{{"image": "{{{{image_base64_png}}}}", "api_key": "{SECRET}"}}\''
)
TABLE = (
    '[request.template]\nimage = "{{image_base64_png}}"\n[request.template.user]\n'
    f'password = "{SECRET}"'
)
FORM = f'[request]\nmultipart = "image"\n[request.form]\ntoken = "{SECRET}"'
EXTRA = f'[request]\nmodel = "m"\n[request.extra]\nauth = {{ secret = "{SECRET}" }}'
ANSWER = '\n[answer]\nlabel = "label"'


@pytest.mark.parametrize(
    ("name", "tables", "place"),
    [
        ("generic", TEMPLATE + ANSWER, "request.template.api_key"),
        ("generic", TABLE + ANSWER, "request.template.user.password"),
        ("generic", FORM + ANSWER, "request.form.token"),
        ("chat_completions", EXTRA, "request.extra.auth.secret"),
        ("mlflow", f'[request]\nextra = {{ api_key = "{SECRET}" }}', "request.extra.api_key"),
    ],
)
def test_a_check_masks_a_written_secret_and_tells_its_author(
    tmp_path: Path, httpserver: HTTPServer, name: str, tables: str, place: str
) -> None:
    body = json.dumps({"label": "cat", "predictions": ["cat"], "you": f"said {SECRET}"})
    server = wire_server(httpserver, body=body.encode())
    path, key = tmp_path / "vendor.toml", tmp_path / "owner.pub"
    key.write_bytes(OWNER_KEY.public_key.pem)
    path.write_text(f'format = "{name}"\nurl = "{server.url}"\nretries = 0\n{tables}')
    done = run("endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", key)
    assert server.seen, done.stderr
    assert SECRET.encode() in server.seen[0].body  # that is what the file says
    assert SECRET not in done.stdout + done.stderr
    assert "***" in done.stdout
    if name != "chat_completions":  # which reads no such answer
        assert f"note         {place} holds what looks like a secret" in done.stdout
        assert "whoever gets the file gets it, too" in done.stdout


def test_an_echoed_secret_of_the_file_is_masked_in_errors(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    server = wire_server(httpserver, body=f"no {SECRET}".encode(), status=400)
    endpoint = opened(tmp_path, f'format = "generic"\nurl = "{server.url}"\n{TEMPLATE}{ANSWER}')
    with pytest.raises(SuspectError, match=r"no \*\*\*"):
        endpoint.predict(IMAGES[:1])
    endpoint.close()


@pytest.mark.parametrize(
    "value",
    [
        {"max_tokens": "a lot of them", "tokenizer": "bert-base", "keyword": "animals"},
        {"api_key": "", "password": "x"},
        {"secret": "{{image_base64_png}}"},
        {"prompt": "Which key is the secret here?"},
    ],
)
def test_what_is_none_is_left_alone(value: dict[str, str]) -> None:
    assert written_secrets(value, "request") == {}


@pytest.mark.parametrize(
    "secret", ["sk-live0123456789", "Bearer abcdefgh1234", "hf_abcdefghij", "AKIAIOSFODNN7EXAMPLE"]
)
def test_keys_of_known_vendors_are_found_wherever_they_stand(secret: str) -> None:
    assert written_secrets({"a": [{"b": secret}]}, "request") == {"request.a.b": secret}


def test_a_file_without_one_has_none(tmp_path: Path) -> None:
    path = tmp_path / "vendor.toml"
    path.write_text('format = "generic"\nurl = "http://x/"\n[request]\nraw = true' + ANSWER)
    assert read_endpoint_file(path).written_secrets == {}
