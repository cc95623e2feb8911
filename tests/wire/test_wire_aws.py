"""Amazon's services: signatures that botocore verifies anew, errors by their type, no key shown."""

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pytest_httpserver import HTTPServer
from worlds.servers.wire_server import (
    HWC,
    IMAGES,
    Seen,
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
    SuspectUnreachableError,
)

KEY_ID, KEY, TOKEN = "AKIDEXAMPLE", "s3cr3t/key+of+aws", "t0ken/of+the+session"
ARN = "arn:aws:rekognition:eu-west-1:123456789012:project/p/version/v/1"
INVOKE = "/endpoints/e/invocations"
AWS = '[aws]\nregion = "eu-west-1"\n'
REKOGNITION = f'{AWS}[request]\nproject_version_arn = "{ARN}"\n'
LARGE = np.repeat(np.repeat(IMAGES[:1], 64, axis=1), 32, axis=2)
"""64x64 pixels, which the service asks for at least."""
Ask = Callable[..., tuple[HttpEndpoint, WireServer]]


@pytest.fixture
def ask(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Return a function from a format, a path and tables to an endpoint and the server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    endpoints: list[HttpEndpoint] = []

    def start(
        name: str, path: str, tables: str = AWS, **settings: Any
    ) -> tuple[HttpEndpoint, WireServer]:
        server = wire_server(httpserver, **settings)
        text = f'format = "{name}"\nurl = "{server.url}{path}"\n{tables}\n'
        endpoints.append(opened(tmp_path, text))
        return endpoints[-1], server

    yield start
    for endpoint in endpoints:
        endpoint.close()


def signature(server: WireServer, seen: Seen, service: str, keys: Credentials) -> str:
    """Compute the Authorization header anew from what arrived, at the time that it names."""
    now = datetime.strptime(seen.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    sent = re.search("SignedHeaders=([^,]+)", seen.headers["Authorization"])
    assert sent
    arrived = {name.lower(): value for name, value in seen.headers.items()}
    headers = {
        name: arrived[name]
        for name in sent[1].split(";")
        if name not in ("host", "x-amz-date", "x-amz-security-token")
    }
    request = AWSRequest("POST", server.url + seen.path, headers=headers, data=seen.body)
    with patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(keys.get_frozen_credentials(), service, "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])


def test_rekognition_gets_a_signed_request_for_all_labels(ask: Ask) -> None:
    body = b'{"CustomLabels": [{"Name": "cat", "Confidence": 9.5}, ' + (
        b'{"Name": "dog", "Confidence": 85.5}, {"Name": "horse", "Confidence": 5.0}]}'
    )
    tables = REKOGNITION + '[answer]\nkind = "probabilities"'
    endpoint, server = ask("rekognition", "/", tables, body=body)
    predictions = endpoint.predict(LARGE)
    assert predictions.labels.tolist() == [1]
    assert predictions.log_probabilities == pytest.approx(np.log([[0.095, 0.855, 0.05]]))
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/")
    assert seen.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert seen.headers["X-Amz-Target"] == "RekognitionService.DetectCustomLabels"
    assert (
        without_images(seen.body, LARGE)
        == (
            f'{{"ProjectVersionArn":"{ARN}","Image":{{"Bytes":"<0>"}},"MaxResults":3,'
            '"MinConfidence":0}'
        ).encode()
    )
    expected = signature(server, seen, "rekognition", Credentials(KEY_ID, KEY))
    assert seen.headers["Authorization"] == expected
    assert "x-amz-target" in expected


def test_sagemaker_gets_a_signed_body_as_the_container_wants_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    tables = (
        f"{AWS}[headers]\nX-Amzn-SageMaker-Target-Variant = 'blue'\n[request]\nbatch_size = 2\n"
    )
    tables += '[request.tensor]\nscale = 1\nlayout = "NHWC"'
    headers = {"x-Amzn-Invoked-Production-Variant": "blue"}
    body = b'{"predictions": [[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]]}'
    endpoint, server = ask("sagemaker", INVOKE, tables, body=body, headers=headers)
    predictions = endpoint.predict(IMAGES)
    assert predictions.labels.tolist() == [2, 0]
    assert predictions.metadata["header.x-amzn-invoked-production-variant"] == "blue"
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", INVOKE)
    assert seen.body == f'{{"instances":[{HWC[0]},{HWC[1]}]}}'.encode()
    assert seen.headers["X-Amz-Security-Token"] == TOKEN
    assert seen.headers["X-Amzn-Sagemaker-Target-Variant"] == "blue"
    expected = signature(server, seen, "sagemaker", Credentials(KEY_ID, KEY, TOKEN))
    assert seen.headers["Authorization"] == expected


def test_sagemakers_built_in_classifier_takes_the_file(ask: Ask) -> None:
    tables = f'{AWS}[request]\nform = "raw"\n[answer]\nkind = "probabilities"'
    endpoint, server = ask("sagemaker", INVOKE, tables, body=b"[0.25, 0.5, 0.25]")
    assert endpoint.capability is Capability.PROBABILITIES
    assert endpoint.predict(IMAGES[:1]).labels.tolist() == [1]
    assert server.seen[0].headers["Content-Type"] == "image/png"
    assert np.array_equal(pixels(server.seen[0].body), IMAGES[0])


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (400, {}, '{"__type": "ThrottlingException", "message": "Rate"}', SuspectThrottledError),
        (
            400,
            {},
            '{"__type": "com.amazonaws.rekognition#ProvisionedThroughputExceededException"}',
            SuspectThrottledError,
        ),
        (
            400,
            {"x-amzn-ErrorType": "ThrottlingException:http://internal.amazon.com/"},
            "{}",
            SuspectThrottledError,
        ),
        (429, {"x-amzn-ErrorType": "ModelNotReadyException"}, "{}", SuspectThrottledError),
        (400, {}, '{"__type": "InvalidSignatureException"}', SuspectUnreachableError),
        (400, {}, '{"__type": "UnrecognizedClientException"}', SuspectUnreachableError),
        (403, {}, '{"__type": "AccessDeniedException"}', SuspectUnreachableError),
        (400, {}, '{"__type": "ResourceNotReadyException"}', SuspectConfigError),
        (400, {}, "no JSON", SuspectConfigError),
        (424, {"x-amzn-ErrorType": "ModelError"}, "{}", SuspectConfigError),
    ],
)
def test_the_type_of_an_error_says_more_than_its_status(
    ask: Ask, status: int, headers: dict[str, str], body: str, kind: type[SuspectError]
) -> None:
    settings = {"body": body.encode(), "status": status, "headers": headers}
    endpoint, _ = ask("sagemaker", INVOKE, **settings)
    with pytest.raises(kind, match=f"status {status}") as caught:
        endpoint.predict(IMAGES[:1])
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "expected CustomLabels"),
        ('{"CustomLabels": [{"Name": "cat"}]}', "expected a number as the score of 'cat'"),
        ('{"CustomLabels": [{"Name": "cow", "Confidence": 99}]}', "got 'cow'"),
    ],
)
def test_an_answer_without_labels_is_refused(ask: Ask, body: str, message: str) -> None:
    endpoint, _ = ask("rekognition", "/", REKOGNITION, body=body.encode())
    with pytest.raises(SuspectError, match=message):
        endpoint.predict(LARGE)


def test_no_label_at_all_is_a_refusal(ask: Ask) -> None:
    endpoint, _ = ask("rekognition", "/", REKOGNITION, body=b'{"CustomLabels": []}')
    assert endpoint.predict(LARGE).labels.tolist() == [-1]


def test_an_image_that_the_service_would_refuse_is_not_sent(ask: Ask) -> None:
    endpoint, server = ask("rekognition", "/", REKOGNITION)
    with pytest.raises(SuspectConfigError, match=r"at least \[64, 64\], .*, got \[1, 2\]"):
        endpoint.predict(IMAGES[:1])
    assert not server.seen


def test_keys_and_token_are_masked_everywhere(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    body = json.dumps({"__type": "ValidationError", "message": f"{KEY} {TOKEN} {KEY_ID}"}).encode()
    endpoint, _ = ask("sagemaker", INVOKE, body=body, status=400)
    with pytest.raises(SuspectConfigError, match="ValidationError") as caught:
        endpoint.predict(IMAGES[:1])
    shown = "".join(traceback.format_exception(caught.value))
    shown += f"{endpoint!r} {endpoint.identity} {vars(endpoint)}"
    for secret in (KEY, TOKEN, KEY_ID):
        assert secret not in shown


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AWS_ACCESS_KEY_ID", "aws.access_key_id_env: .* variable AWS_ACCESS_KEY_ID, got nothing"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "aws.secret_access_key_env: .*AWS_SECRET_ACCESS_KEY, got nothing",
        ),
    ],
)
def test_a_missing_key_is_named_by_its_variable(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, variable: str, message: str
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(SuspectConfigError, match=message):
        ask("sagemaker", INVOKE)


def test_keys_may_lie_in_a_private_file(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "aws.key"
    path.write_text("[audit]\naws_access_key_id = FILEID\naws_secret_access_key = filekey\n")
    path.chmod(0o600)
    endpoint, server = ask("sagemaker", INVOKE, f'{AWS}file = "aws.key"', body=b"[1]")
    endpoint.predict(IMAGES[:1])
    (seen,) = server.seen
    assert "Credential=FILEID/" in seen.headers["Authorization"]
    expected = signature(server, seen, "sagemaker", Credentials("FILEID", "filekey"))
    assert seen.headers["Authorization"] == expected


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("[a]\naws_access_key_id = x\n", 0o600, "got no aws_secret_access_key in it"),
        ("[a]\nb = 1\n[c]\nd = 1\n", 0o600, "in one section, got 2 sections"),
        ("s3cr3t", 0o600, "got no file in the form of ~/.aws/credentials"),
        ("[a]\n", 0o644, "only you can read, got mode 0644"),
    ],
)
def test_a_file_without_usable_keys_is_refused(
    ask: Ask, tmp_path: Path, text: str, mode: int, message: str
) -> None:
    path = tmp_path / "aws.key"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SuspectConfigError, match=message) as caught:
        ask("sagemaker", INVOKE, f'{AWS}file = "aws.key"')
    assert "s3cr3t" not in str(caught.value)


def test_botocores_own_search_is_used_only_where_the_file_names_a_profile(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[audit]\naws_access_key_id = SHAREDID\naws_secret_access_key = shared\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    endpoint, server = ask("sagemaker", INVOKE, f'{AWS}profile = "audit"', body=b"[1]")
    endpoint.predict(IMAGES[:1])
    assert "Credential=SHAREDID/" in server.seen[0].headers["Authorization"]
    with pytest.raises(SuspectConfigError, match=r"aws.profile: expected keys in the profile none"):
        ask("sagemaker", INVOKE, f'{AWS}profile = "none"')


def test_without_botocore_the_extra_is_named(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(SuspectConfigError, match=r'pip install "kinprint\[aws\]"'):
        ask("sagemaker", INVOKE)


@pytest.mark.parametrize(
    ("name", "tables", "message"),
    [
        ("sagemaker", "", "aws: expected a value, got nothing; add it"),
        ("sagemaker", "[aws]\nregion = 'EU'", "line 5: aws.region: expected"),
        ("sagemaker", f"{AWS}regoin = 'x'", "line 6: aws.regoin: .* did you mean region"),
        ("sagemaker", f"{AWS}file = 'a'\nprofile = 'b'", "aws: expected one of file and profile"),
        ("sagemaker", f"{AWS}[auth]\nenv = 'K'", "auth: expected none, requests are signed"),
        ("rekognition", AWS, "request: expected a value, got nothing"),
        ("rekognition", f"{AWS}[request]\nproject_version_arn = 'x'", "line 7: request.project_v"),
    ],
)
def test_a_wrong_field_is_named(ask: Ask, name: str, tables: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        ask(name, INVOKE, tables)


def test_a_key_in_a_wrong_field_is_not_repeated(ask: Ask) -> None:
    tables = f'{AWS}secret_access_key_env = "{KEY}"\nsession_token = "{TOKEN}"'
    with pytest.raises(SuspectConfigError, match=r"aws.secret_access_key_env: expected") as caught:
        ask("sagemaker", INVOKE, tables)
    assert KEY not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_signed_requests_do_not_travel_in_the_clear(tmp_path: Path) -> None:
    text = f'format = "sagemaker"\nurl = "http://vendor.example{INVOKE}"\n{AWS}'
    with pytest.raises(SuspectConfigError, match="url: expected https, got http with credentials"):
        opened(tmp_path, text)
