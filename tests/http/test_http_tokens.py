"""Tokens of OAuth2 servers and of commands: got, renewed, refused, and written down nowhere."""

import base64
import io
import json
import logging
import os
import shlex
import stat
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image
from worlds.allowed import open_allowed
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import AUDITOR_KEY, GOLDEN_BUNDLE, audited_contents
from worlds.servers.http_faults import endpoint_file
from worlds.servers.token_server import BASE, CLIENT, SECRET, TokenServer, token_server

from adapters.endpoint import token_command
from adapters.endpoint.grants import NotGrantedError, parse_grant
from adapters.endpoint.secrets import Auth
from adapters.endpoint.tokens import Token, TokenCredential
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError, SuspectError, SuspectUnreachableError
from audit.signing.keys import write_key_pair

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
TABLE = (
    '[oauth2]\ntoken_url = "{url}/token"\nclient_id = "{client}"\nclient_secret_env = "SECRET"\n'
)
BASIC = base64.b64encode(b"kinprint+at+work:s3cr%2Bt%2F0123456789+of+a+client").decode()
"""RFC 6749, 2.3.1: both as form fields first, then in base64."""


@pytest.fixture(autouse=True)
def _secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


def oauth2_file(folder: Path, server: TokenServer, more: str = "", fields: str = "") -> Path:
    table = TABLE.format(url=server.url, client=CLIENT) + more
    return endpoint_file(folder, f"{server.url}/classify", fields, table)


def test_a_token_is_fetched_once_and_sent_with_every_request(
    tmp_path: Path, server: TokenServer
) -> None:
    more = 'scope = "read classify"\nextra = { audience = "pets" }'
    endpoint = open_allowed(oauth2_file(tmp_path, server, more))
    assert server.tokens_asked == []  # nothing is sent while a file is opened
    for _ in range(3):
        assert endpoint.predict(IMAGE).labels[0] == 1
    endpoint.close()
    (asked,) = server.tokens_asked
    assert asked.headers["Authorization"] == f"Basic {BASIC}"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["read classify"],
        "audience": ["pets"],
    }
    assert [each.headers["Authorization"] for each in server.api_asked] == [f"Bearer {BASE}0"] * 3


def test_id_and_secret_may_go_in_the_form(
    tmp_path: Path, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIENT", CLIENT)
    (tmp_path / "client.key").write_text(SECRET)
    (tmp_path / "client.key").chmod(0o600)
    table = (
        f'[oauth2]\ntoken_url = "{server.url}/token"\nclient_id_env = "CLIENT"\n'
        'client_secret_file = "client.key"\nclient_auth = "post"'
    )
    endpoint = open_allowed(endpoint_file(tmp_path, f"{server.url}/classify", tables=table))
    assert endpoint.predict(IMAGE).labels[0] == 1
    endpoint.close()
    assert "Authorization" not in server.tokens_asked[0].headers


def test_a_token_that_expires_between_two_requests_is_renewed(
    tmp_path: Path, server: TokenServer
) -> None:
    server.uses = 2
    endpoint = open_allowed(oauth2_file(tmp_path, server))
    assert [int(endpoint.predict(IMAGE).labels[0]) for _ in range(5)] == [1] * 5
    endpoint.close()
    assert server.num_tokens == 3
    # 5 answers, and the third and the fifth were refused once with the old token.
    assert len(server.api_asked) == 7


class Counting:
    """Hands out numbered tokens that are good for 100 s."""

    secrets = ()

    def __init__(self) -> None:
        self.num = 0

    def fetch(self) -> Token:
        self.num += 1
        return Token(value=f"token-number-{self.num}", valid_for_s=100.0)

    def look_up(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_token_is_renewed_before_it_expires() -> None:
    now, source = [1000.0], Counting()
    credential = TokenCredential(source, Auth(env="X"), clock=lambda: now[0])
    numbers = []
    for second in (0.0, 79.0, 80.0, 159.0, 161.0):  # a fifth of 100 s before its end
        now[0] = 1000.0 + second
        credential.ready()
        numbers.append(source.num)
    assert numbers == [1, 1, 2, 2, 3]
    assert credential.mask("token-number-1 and token-number-3") == "*** and ***"
    assert "token-number" not in repr(credential)


def test_a_token_that_was_never_taken_is_not_fetched_again(
    tmp_path: Path, server: TokenServer
) -> None:
    server.uses = 0
    endpoint = open_allowed(oauth2_file(tmp_path, server))
    with pytest.raises(
        SuspectUnreachableError, match="auth: expected to be let in, got status 401"
    ):
        endpoint.predict(IMAGE)
    endpoint.close()
    assert server.num_tokens == 1


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (
            400,
            {"error": "invalid_scope", "error_description": f"x {SECRET} y"},
            r"\(invalid_scope: x \*\*\* y\)",
        ),
        (401, {"error": f"invalid {BASIC}"}, r"got status 401 \(invalid \*\*\*\); check"),
        (
            200,
            {"token": f"{BASE}9"},
            "expected access_token in the answer of token_url, got .. bytes",
        ),
        (200, {"access_token": f"{BASE}9", "token_type": "mac"}, "of the type Bearer, got mac"),
        (200, {"access_token": f"two {BASE}9"}, "expected access_token"),
    ],
)
def test_a_token_endpoint_that_hands_out_none_is_named_without_secrets(
    tmp_path: Path, server: TokenServer, status: int, answer: dict[str, str], message: str
) -> None:
    server.faults = [(status, answer)]
    endpoint = open_allowed(oauth2_file(tmp_path, server))
    with pytest.raises(SuspectError, match=message) as error:
        endpoint.predict(IMAGE)
    endpoint.close()
    told = "".join(traceback.format_exception(error.value))
    assert SECRET not in told
    assert BASIC not in told
    assert f"{BASE}9" not in told
    assert server.api_asked == []  # nothing is paid for without a token


def test_a_token_endpoint_that_is_busy_is_asked_again(tmp_path: Path, server: TokenServer) -> None:
    server.faults = [(503, {})]
    endpoint = open_allowed(oauth2_file(tmp_path, server, fields="retries = 2"))
    assert endpoint.predict(IMAGE).labels[0] == 1
    endpoint.close()
    assert len(server.tokens_asked) == 2


def test_a_secret_is_allowed_for_both_hosts_or_not_used(
    tmp_path: Path, server: TokenServer
) -> None:
    path = oauth2_file(tmp_path, server)
    text = path.read_text().replace(f"{server.url}/token", "https://login.vendor.example/token")
    path.write_text(text)
    api = f"env:SECRET@{server.url}"
    with pytest.raises(NotGrantedError) as error:
        open_endpoint(path, grants=frozenset({parse_grant(api)}))
    (need,) = error.value.needs
    assert str(need.grant) == "env:SECRET@login.vendor.example"
    assert need.told.endswith("for https://login.vendor.example, to fetch tokens")
    with pytest.raises(NotGrantedError, match="as tokens that are fetched with it"):
        open_endpoint(path, grants=frozenset({need.grant}))
    open_endpoint(path, grants=frozenset({need.grant, parse_grant(api)})).close()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ('[auth]\nenv = "X"\n' + TABLE.format(url="https://x", client="c"), "no .auth. beside it"),
        (TABLE.format(url="http://login.example", client="c"), "token_url: expected https://"),
        (TABLE.format(url="https://x", client="c") + 'client_id_env = "Y"', "one of client_id and"),
        (TABLE.format(url="https://x", client="c") + 'client_secret_file = "y"', "expected one of"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, tables: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        open_allowed(endpoint_file(tmp_path, "http://127.0.0.1:1/", tables=tables))


BUNDLE = audited_contents()
LABELS = {
    image.tobytes(): int(label)
    for images, labels in (
        (BUNDLE.arrays.controls, BUNDLE.arrays.control_labels),
        (BUNDLE.arrays.queries, BUNDLE.arrays.source_query_labels),
    )
    for image, label in zip(images, labels, strict=True)
}


def label_of(body: bytes) -> dict[str, int]:
    with Image.open(io.BytesIO(base64.b64decode(json.loads(body)["image"]))) as picture:
        return {"label": LABELS[np.asarray(picture).tobytes()]}


def test_no_file_and_no_output_of_an_audit_holds_secret_or_token(
    tmp_path: Path, server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.uses, server.reply = 5, label_of
    server.faults = [(503, {"error": SECRET})]
    key, trust = tmp_path / "auditor.key", tmp_path / "owner.pub"
    write_key_pair(key, AUDITOR_KEY, None)
    trust.write_bytes(OWNER_KEY.public_key.pem)
    path = oauth2_file(tmp_path, server)
    text = path.read_text().replace('class_names = ["cat", "dog", "horse"]', "")
    path.write_text(text.replace('label = "label"', 'label = "label"\nmetadata = { who = "echo" }'))
    leave = ["--allow", f"env:SECRET@{server.url}"]
    done = run(
        *("audit", GOLDEN_BUNDLE, "--trust", trust, "--endpoint", path, *leave),
        *("--journal", tmp_path / "journal.db", "--record", tmp_path / "a.kinrecord"),
        *("--auditor-key", key),
    )
    assert done.returncode == 10, done.stderr
    assert server.num_tokens >= 2
    told = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    told |= {"output": (done.stdout + done.stderr + caplog.text).encode()}
    assert b"you are Bearer ***" in told[str(tmp_path / "a.kinrecord")]
    for name, content in told.items():
        for secret in (SECRET, BASIC, BASE):
            assert secret.encode() not in content, f"{secret} is in {name}"


def program(folder: Path, text: str) -> Path:
    """Return a command that runs this text as Python."""
    path = folder / "get-token"
    path.write_text(f"#!{sys.executable} -I\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def command_file(folder: Path, server: TokenServer, text: str, more: str = "") -> Path:
    program(folder, text)
    table = f'[auth]\nscheme = "Bearer"\ncommand = ["./get-token", "--for", "pets"]\n{more}'
    return endpoint_file(folder, f"{server.url}/classify", "retries = 1", table)


COUNT = (
    "import pathlib, sys; p = pathlib.Path(sys.argv[0]).with_name('count');"
    "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1));"
)
"""Sets n to how often the command ran before."""


@pytest.mark.parametrize(
    "shown",
    [
        f"print(f'{BASE}{{n}}')",
        f"import json; print(json.dumps({{'access_token': f'{BASE}{{n}}', 'expires_in': '60'}}))",
        "import json; print(json.dumps({'kind': 'ExecCredential', 'status': {'token': "
        f"f'{BASE}{{n}}', 'expirationTimestamp': '2099-01-01T00:00:00Z'}}}}))",
    ],
)
def test_a_command_prints_the_token_and_again_when_it_has_expired(
    tmp_path: Path, server: TokenServer, shown: str
) -> None:
    server.num_tokens, server.left = 1, 2  # the first one is good twice
    path = command_file(tmp_path, server, COUNT + shown)
    endpoint = open_allowed(path)
    assert not (tmp_path / "count").exists()  # nothing runs while a file is opened
    assert endpoint.predict(IMAGE).labels[0] == 1
    assert endpoint.predict(IMAGE).labels[0] == 1
    server.num_tokens, server.left = 2, 5
    assert endpoint.predict(IMAGE).labels[0] == 1
    endpoint.close()
    assert (tmp_path / "count").read_text() == "xx"


def test_a_command_runs_only_with_leave_for_these_words_and_this_host(
    tmp_path: Path, server: TokenServer
) -> None:
    path = command_file(tmp_path, server, COUNT + "print('never')")
    words = shlex.join([os.path.realpath(tmp_path / "get-token"), "--for", "pets"])
    with pytest.raises(NotGrantedError) as error:
        open_endpoint(path)
    (need,) = error.value.needs
    assert str(need.grant) == f"cmd:{words}@{server.url}"
    assert (
        need.told
        == f"the output of the command {words} for {server.url}, in the header Authorization"
    )
    others = (f"cmd:{words}@other.example", f"cmd:{words} more@{server.url}")
    for other in others:
        with pytest.raises(NotGrantedError):
            open_endpoint(path, grants=frozenset({parse_grant(other)}))
    open_endpoint(path, grants=frozenset({parse_grant(str(need.grant))})).close()
    assert not (tmp_path / "count").exists()
    checked = run(
        "endpoint", "check", path, "--bundle", GOLDEN_BUNDLE, "--trust", trusted(tmp_path)
    )
    assert checked.returncode == 2
    assert f"--allow 'cmd:{words}@{server.url}'" in checked.stderr


def trusted(folder: Path) -> Path:
    path = folder / "owner.pub"
    path.write_bytes(OWNER_KEY.public_key.pem)
    return path


def test_a_command_runs_at_home(
    tmp_path: Path, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words that name files must not mean those that came with an endpoint file."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    text = f"import os; open('was-here', 'w'); print('{BASE}0')"
    server.num_tokens, server.left = 1, 1
    endpoint = open_allowed(command_file(tmp_path, server, text))
    endpoint.predict(IMAGE)
    endpoint.close()
    assert (home / "was-here").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import sys; sys.exit('please\\n log in')",
            r"from get-token, got exit status 1 \(please log in\)",
        ),
        ("pass", "expected one line with a token"),
        ("print('Your token is: x')", "expected one line with a token"),
        ("print('{\"access_token\": 3}')", "expected one line with a token"),
        ("print('t\\u00f6ken')", "got no ASCII"),
        ("import time; time.sleep(60)", "within 0.5 s, got none"),
    ],
)
def test_a_command_without_a_token_is_named(
    tmp_path: Path,
    server: TokenServer,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    message: str,
) -> None:
    if "sleep" in text:
        monkeypatch.setattr(token_command, "TIME_LIMIT_S", 0.5)
    endpoint = open_allowed(command_file(tmp_path, server, text))
    with pytest.raises(SuspectConfigError, match=message):
        endpoint.predict(IMAGE)
    endpoint.close()
    assert server.api_asked == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('command = ["no-such-program-here"]', "auth.command: expected a program that can be run"),
        ('command = ["true"]\nenv = "X"', "auth: expected one of env, file and command, got both"),
        ("command = []", "auth.command: expected"),
        ('env = "X"\nvalid_for_s = 3', "auth.valid_for_s: expected a command beside it"),
    ],
)
def test_a_wrong_command_is_refused(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        open_allowed(endpoint_file(tmp_path, "http://127.0.0.1:1/", tables=f"[auth]\n{table}"))
