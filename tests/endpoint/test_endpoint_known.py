"""``kinprint endpoint new`` from a pasted curl command and from an API's own description."""

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from pytest_httpserver import HTTPServer
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import GOLDEN_BUNDLE
from worlds.servers.wire_server import IMAGES, opened, pixels, wire_server

from adapters.http.endpoint_file import read_endpoint_file
from adapters.suspect import SuspectConfigError
from audit.endpoint.curl_command import read_curl
from audit.endpoint.known_request import endpoint_text
from audit.endpoint.open_api import read_open_api
from audit.errors import AuditError

SECRET = "sk-live-0123456789abcdef"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
URL = "https://api.vendor.example/v1/classify"
PIXELS = np.zeros((1, 3, 8, 8)).tolist()
LEFT = "left to fill in: the JMESPath of the class in the answer"


def file_of(command: str) -> tuple[str, dict[str, Any]]:
    text = endpoint_text(read_curl(command), None)
    return text, tomllib.loads(text)


@pytest.mark.parametrize(
    ("command", "auth"),
    [
        (f"-H 'Authorization: Bearer {SECRET}'", {"scheme": "Bearer"}),
        (f"-H 'authorization: Bearer {SECRET}'", {"scheme": "Bearer"}),
        (f"-H 'X-API-Key: {SECRET}'", {"header": "X-API-Key"}),
        (f"--oauth2-bearer {SECRET}", {"scheme": "Bearer"}),
        (f"-u me:{SECRET}", {"scheme": "Basic"}),
        (f"-b session={SECRET}", {"cookie": "session"}),
        (f"-H 'Cookie: a=1; b={SECRET}'", {"header": "Cookie"}),
    ],
)
def test_a_secret_moves_into_a_variable(command: str, auth: dict[str, str]) -> None:
    text, fields = file_of(f"curl {URL} {command} --data-binary @cat.png")
    assert fields["auth"] == {**auth, "env": "VENDOR_KEY"}
    assert SECRET not in text


def test_a_secret_in_the_query_and_one_in_the_address_move_too() -> None:
    text, fields = file_of(f"curl '{URL}?team=blue&api_key={SECRET}' -F image=@cat.png")
    assert fields["url"] == f"{URL}?team=blue"
    assert fields["auth"] == {"query": "api_key", "env": "VENDOR_KEY"}
    assert SECRET not in text
    text, fields = file_of(f"curl https://me:{SECRET}@api.vendor.example/v1 -T cat.png")
    assert (fields["url"], fields["method"]) == ("https://api.vendor.example/v1", "PUT")
    assert fields["auth"]["scheme"] == "Basic"
    assert SECRET not in text


def test_the_variable_that_a_command_names_is_kept() -> None:
    _, fields = file_of(
        f'curl {URL} -H "Authorization: Key ${{MY_PAT}}" -d \'{{"image": "{PNG}"}}\''
    )
    assert fields["auth"] == {"scheme": "Key", "env": "MY_PAT"}


def test_a_client_certificate_keeps_its_files_and_loses_its_passphrase() -> None:
    text, fields = file_of(f"curl {URL} --cert me.pem:{SECRET} --key me.key -T cat.png")
    assert fields["client_certificate"] == {
        "certificate": "me.pem",
        "key": "me.key",
        "passphrase_env": "CLIENT_KEY_PASSPHRASE",
    }
    assert SECRET not in text


def test_of_two_secrets_one_stays_and_the_other_is_named() -> None:
    text, fields = file_of(
        f"curl {URL} -H 'apikey: {SECRET}x' -H 'Authorization: Bearer {SECRET}' -T cat.png"
    )
    assert fields["auth"]["scheme"] == "Bearer"
    assert "# Left out: the header apikey, since an endpoint file sends one secret." in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("command", "request_table"),
    [
        ("--data-binary @cat.jpg -H 'Content-Type: image/jpeg'", {"raw": True}),
        ("-sSL -X PUT -T cat.png", {"raw": True}),
        (
            "-F 'file=@cat.png;type=image/png' -F model=small",
            {"multipart": "file", "form": {"model": "small"}},
        ),
    ],
)
def test_a_body_that_is_no_json(command: str, request_table: dict[str, Any]) -> None:
    _, fields = file_of(f"curl {command} {URL}")
    assert fields["request"] == request_table
    assert "headers" not in fields


@pytest.mark.parametrize(
    ("body", "template"),
    [
        ({"image": PNG, "top": 3}, {"image": "{{image_base64_png}}", "top": 3}),
        (
            {"images": [{"url": f"data:image/jpeg;base64,{PNG}"}]},
            {"images": [{"url": "data:image/png;base64,{{image_base64_png}}"}]},
        ),
        ({"inputs": PIXELS}, {"inputs": ["{{image_array}}"]}),
        ({"b64": "<BASE64_IMAGE>", "encoding": "base64"}, None),
        ({"data": "$(base64 -w0 cat.png)"}, {"data": "{{image_base64_png}}"}),
    ],
)
def test_the_placeholder_stands_where_the_image_was(body: Any, template: Any) -> None:
    _, fields = file_of(f"curl {URL} --json '{json.dumps(body)}'")
    found = json.loads(fields["request"]["template"])
    assert found == (template or {"b64": "{{image_base64_png}}", "encoding": "base64"})


def test_a_secret_in_a_body_is_left_to_its_user() -> None:
    text, _ = file_of(f'curl {URL} -d \'{{"image": "{PNG}", "api_key": "{SECRET}"}}\'')
    assert SECRET not in text
    assert "FILL_IN: the secret api_key" in text


def test_a_command_of_a_browser_and_of_windows_lines_is_read() -> None:
    _, fields = file_of(
        f"$ curl '{URL}' \\\r\n  -H 'accept: */*' -H 'sec-ch-ua: \"x\"' -H 'x-team: blue' \\\n"
        f'  --data-raw $\'{{"image": "{PNG}", "note": "it\\\'s"}}\' --compressed'
    )
    assert fields["headers"] == {"x-team": "blue"}
    assert json.loads(fields["request"]["template"])["note"] == "it's"


def test_a_chat_becomes_a_chat() -> None:
    body = {"model": "gpt", "max_tokens": 5, "temperature": 1, "messages": [{"role": "user"}]}
    _, fields = file_of(f"curl https://api.openai.com/v1/chat/completions -d '{json.dumps(body)}'")
    assert fields["format"] == "chat_completions"
    assert fields["request"] == {"model": "gpt", "extra": {"max_tokens": 5}}
    _, fields = file_of(f"curl http://127.0.0.1:11434/api/chat -d '{json.dumps(body)}'")
    assert fields["format"] == "ollama"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("wget x", "begins with curl"),
        (f"curl {URL}", "got GET without a body"),
        (f"curl -X DELETE {URL} -d x", "got DELETE"),
        (f"curl -G {URL} -d a=b", "got --get, which puts it elsewhere"),
        (f"curl {URL} -d 'a=b'", "got a form in the body"),
        (f"curl {URL} -d 'x", "expected a whole command"),
        ("curl -d '{}'", "expected an address"),
        (f"curl {URL} -H", "expected a value after -H"),
        (f"curl {URL} -F a=b", "expected one file in the form, got 0"),
        (f"curl {URL} --aws-sigv4 aws:amz -T x", "kinprint endpoint new sagemaker"),
        ("curl file:///etc/passwd -T x", "begins with https"),
    ],
)
def test_another_command_is_refused(command: str, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        read_curl(command)


def test_a_pasted_command_is_audited_once_it_is_filled_in(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    server = wire_server(httpserver, body=b'{"predictions": [{"label": "dog"}]}')
    path, key = tmp_path / "vendor.toml", tmp_path / "owner.pub"
    key.write_bytes(OWNER_KEY.public_key.pem)
    body = json.dumps({"images": [{"data": PNG}]})
    command = f"curl {server.url}/v1 -H 'X-Key: {SECRET}' -d '{body}'"
    done = run(
        *("endpoint", "new", "--curl", command, "-o", path),
        *("--bundle", GOLDEN_BUNDLE, "--trust", key),
    )
    assert done.returncode == 0, done.stderr
    assert "fill in what it says FILL_IN at; put the secret into the environment" in done.stderr
    assert SECRET not in done.stderr + path.read_text()
    checked = run("endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", key)
    assert checked.returncode == 2
    assert f"{path}, line " in checked.stderr
    assert f"answer.label: {LEFT}" in checked.stderr
    assert server.seen == []
    text = path.read_text()
    names = tomllib.loads(text)["class_names"]
    label = tomllib.loads(text)["answer"]["label"]
    path.write_text(text.replace(label, "predictions[0].label"))
    checked = run(
        *("endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", key),
        *("--allow", f"env:ENDPOINT_KEY@{server.url.rstrip('/')}"),
        ENDPOINT_KEY=SECRET,
    )
    assert names == ["cat", "dog", "frog", "ship"]
    assert checked.returncode == 15, checked.stderr  # everything is a dog there
    assert "8 control" not in checked.stderr
    assert {seen.headers["X-Key"] for seen in server.seen} == {SECRET}
    image = json.loads(server.seen[0].body)["images"][0]["data"]
    assert pixels(base64.b64decode(image)).shape == (8, 8, 3)


def described(body: Any, **more: Any) -> dict[str, Any]:
    """Return a description as FastAPI writes it."""
    return {
        "openapi": "3.1.0",
        "servers": [{"url": "https://api.vendor.example/v1"}],
        "paths": {"/predict": {"post": {"requestBody": {"content": body}, **more}}},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "query", "name": "api_key"},
            },
            "schemas": {
                "Upload": {
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "mode": {"type": "string", "enum": ["fast", "good"]},
                        "note": {"type": "string"},
                    },
                    "required": ["file", "mode"],
                },
                "Row": {
                    "properties": {"label": {"type": "string"}, "score": {"type": "number"}},
                },
                "Out": {
                    "properties": {
                        "predictions": {
                            "type": "array",
                            "items": {"$ref": "#/components/schemas/Row"},
                        }
                    }
                },
                "Pixels": {
                    "properties": {
                        "x": {
                            "type": "array",
                            "items": {
                                "type": "array",
                                "items": {"type": "array", "items": {"type": "number"}},
                            },
                        }
                    }
                },
                "Text": {
                    "properties": {
                        "image_b64": {"type": "string"},
                        "image_url": {"type": "string", "format": "uri"},
                        "threshold": {"type": "number"},
                    },
                    "required": ["image_b64", "threshold"],
                },
            },
        },
    }


UPLOAD = {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Upload"}}}
OUT = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Out"}}}}}


def api_file(folder: Path, document: Any) -> Path:
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    return path


def test_a_described_api_becomes_a_file_that_works(tmp_path: Path, httpserver: HTTPServer) -> None:
    document = described(UPLOAD, security=[{"bearer": []}], responses=OUT)
    text = endpoint_text(read_open_api(api_file(tmp_path, document), "/predict"), None)
    fields = tomllib.loads(text)
    assert fields["url"] == "https://api.vendor.example/v1/predict"
    assert fields["auth"] == {"scheme": "Bearer", "env": "VENDOR_KEY"}
    assert fields["request"] == {"multipart": "file", "form": {"mode": "fast"}}
    assert fields["answer"] == {"label": "predictions[0].label"}
    server = wire_server(httpserver, body=b'{"predictions": [{"label": "dog", "score": 0.9}]}')
    document["servers"][0]["url"] = server.url.rstrip("/")
    del document["paths"]["/predict"]["post"]["security"]
    text = endpoint_text(read_open_api(api_file(tmp_path, document), "/predict"), None)
    endpoint = opened(tmp_path, text[text.index("format") :])
    assert endpoint.predict(IMAGES[:1]).labels[0] == 1
    endpoint.close()
    assert b'name="mode"\r\n\r\nfast' in server.seen[0].body
    assert server.seen[0].path == "/predict"


@pytest.mark.parametrize(
    ("schema", "template"),
    [
        ("Pixels", {"x": "{{image_array}}"}),
        ("Text", {"image_b64": "{{image_base64_png}}", "threshold": "FILL_IN: threshold (number)"}),
    ],
)
def test_a_json_body_is_built_from_its_schema(tmp_path: Path, schema: str, template: Any) -> None:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    request = read_open_api(api_file(tmp_path, described(body)), "/predict")
    assert request.body.template == template


def test_what_a_description_leaves_open_is_left_to_its_user(tmp_path: Path) -> None:
    document = described(UPLOAD, security=[{"key": []}])
    document["servers"] = [{"url": "/api"}]
    operation = document["paths"].pop("/predict")["post"]
    operation["parameters"] = [
        {"name": "model", "in": "path", "required": True},
        {"name": "v", "in": "query", "required": True, "schema": {"default": 2}},
    ]
    document["paths"]["/m/{model}"] = {"put": operation}
    path = tmp_path / "vendor.toml"
    text = endpoint_text(read_open_api(api_file(tmp_path, document), "/m/{model}"), ("a", "b"))
    path.write_text(text)
    assert tomllib.loads(text)["url"] == "https://FILL_IN_the_host/api/m/FILL_IN_model?v=2"
    assert tomllib.loads(text)["auth"]["query"] == "api_key"
    with pytest.raises(SuspectConfigError) as error:
        read_endpoint_file(path)
    first, second, third = str(error.value).split("\n")
    assert first.endswith("url: left to fill in: the host")
    assert second.endswith("url: left to fill in: model")
    line = text.split("\n").index(next(each for each in text.split("\n") if "label =" in each)) + 1
    assert third == f"{path}, line {line}: answer.label: {LEFT}, as in predictions[0].label"


def test_client_credentials_of_a_description_become_a_table(tmp_path: Path) -> None:
    document = described(UPLOAD, security=[{"login": ["predict"]}], responses=OUT)
    flows = {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}}
    document["components"]["securitySchemes"]["login"] = {"type": "oauth2", "flows": flows}
    fields = tomllib.loads(
        endpoint_text(read_open_api(api_file(tmp_path, document), "/predict"), None)
    )
    assert "auth" not in fields
    assert fields["oauth2"] == {
        "token_url": "https://api.vendor.example/oauth/token",
        "client_id": "FILL_IN: the id that the vendor gave you",
        "client_secret_env": "VENDOR_KEY",
    }


def test_yaml_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "openapi.yaml"
    path.write_text(yaml.safe_dump(described(UPLOAD)))
    assert read_open_api(path, "/predict").body.multipart == "file"


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({}, "/predict", "expected an OpenAPI description with paths"),
        (described(UPLOAD), "/other", r"path: expected one of /predict, got '/other'"),
        ({"paths": {"/x": {"get": {}}}}, "/x", "expected POST or PUT at /x"),
        ({"paths": {"/x": {"$ref": "#/paths/~1x"}}}, "/x", "got a circle"),
        ({"paths": {"/x": {"$ref": "http://x/y"}}}, "/x", "references within the file"),
        ({"paths": {"/x": {"post": {"parameters": 3}}}}, "/x", "values of another kind"),
        ([1], "/x", "expected JSON or YAML"),
    ],
)
def test_another_description_is_refused(
    tmp_path: Path, document: Any, place: str, message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        read_open_api(api_file(tmp_path, document), place)


def test_a_new_file_comes_from_one_place() -> None:
    for arguments in (("generic", "--curl", "curl x"), (), ("--path", "/x", "generic")):
        done = run("endpoint", "new", *arguments)
        assert done.returncode == 2
        assert "expected" in done.stderr
