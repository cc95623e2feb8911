"""Secrets travel in their header and appear nowhere else."""

import base64
import datetime
import ipaddress
import json
import logging
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from worlds.allowed import open_allowed
from worlds.servers.http_faults import Reply, endpoint_file, scripted_server

from adapters.http.suspect import MAX_MESSAGE_CHARACTERS
from adapters.suspect import SuspectConfigError, SuspectError, SuspectUnreachableError

SECRET = "sk/l1ve+0123456789"
ENCODED = "sk%2Fl1ve%2B0123456789"
IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
BEARER = '[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"'


@pytest.fixture(autouse=True)
def _secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", SECRET)


@pytest.mark.parametrize(
    ("table", "header", "value"),
    [
        (BEARER, "Authorization", f"Bearer {SECRET}"),
        ('[auth]\nheader = "Prediction-Key"\nenv = "VENDOR_KEY"', "Prediction-Key", SECRET),
    ],
)
def test_the_secret_travels_in_its_header(
    tmp_path: Path, table: str, header: str, value: str
) -> None:
    with scripted_server() as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, tables=table))
        endpoint.predict(IMAGE)
        endpoint.close()
    assert server.received[0].headers[header] == value


@pytest.mark.parametrize(("tail", "before"), [("", "?"), ("?team=blue", "?team=blue&")])
def test_the_secret_may_travel_in_the_query(
    tmp_path: Path, tail: str, before: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    table = '[auth]\nquery = "api_key"\nenv = "VENDOR_KEY"'
    with scripted_server() as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url + tail, tables=table))
        for _ in range(2):  # a new connection, and one that is there
            endpoint.predict(IMAGE)
        endpoint.close()
    asked = {(received.path, received.headers.get(":query")) for received in server.received}
    assert asked == {(f"/classify{before}api_key={ENCODED}", None)}
    assert SECRET not in caplog.text
    assert ENCODED not in caplog.text  # urllib3 writes the address that it asks into its log


def test_no_error_of_a_connection_shows_the_query(tmp_path: Path) -> None:
    table = '[auth]\nquery = "api_key"\nenv = "VENDOR_KEY"'
    path = endpoint_file(tmp_path, "http://127.0.0.1:1/", "retries = 0", table)
    endpoint = open_allowed(path)
    with pytest.raises(SuspectError) as error:
        endpoint.predict(IMAGE)
    endpoint.close()
    told = "".join(traceback.format_exception(error.value))
    assert SECRET not in told
    assert ENCODED not in told


def test_the_secret_may_travel_in_a_cookie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = '[auth]\ncookie = "session"\nenv = "VENDOR_KEY"'
    with scripted_server() as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, tables=table))
        endpoint.predict(IMAGE)
        endpoint.close()
    assert server.received[0].headers["Cookie"] == f"session={SECRET}"
    monkeypatch.setenv("VENDOR_KEY", "sk-live; admin=1")
    with pytest.raises(SuspectConfigError, match="without blanks, quotes, commas"):
        open_allowed(endpoint_file(tmp_path, "http://127.0.0.1:1/", tables=table))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('query = "key"\ncookie = "key"', "auth: expected one of cookie and query, got both"),
        ('query = "key"\nscheme = "Bearer"', "auth.scheme: expected none beside query or cookie"),
        ('query = "a&b"', "auth.query: expected"),
    ],
)
def test_a_secret_has_one_carrier(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(SuspectConfigError, match=message):
        open_allowed(
            endpoint_file(
                tmp_path, "http://127.0.0.1:1/", tables=f'[auth]\nenv = "VENDOR_KEY"\n{table}'
            )
        )


def test_a_private_file_may_hold_the_secret(tmp_path: Path) -> None:
    secret_path = tmp_path / "vendor.key"
    secret_path.write_text(SECRET + "\n")
    secret_path.chmod(0o600)
    with scripted_server() as server:
        path = endpoint_file(tmp_path, server.url, tables='[auth]\nfile = "vendor.key"')
        endpoint = open_allowed(path)
        endpoint.predict(IMAGE)
        endpoint.close()
    assert server.received[0].headers["Authorization"] == SECRET


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret_path = tmp_path / "vendor.key"
    secret_path.write_text(SECRET)
    secret_path.chmod(0o640)
    path = endpoint_file(tmp_path, "http://127.0.0.1:1/", tables='[auth]\nfile = "vendor.key"')
    with pytest.raises(SuspectConfigError, match="only you can read, got mode 0640; chmod 600"):
        open_allowed(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "auth.env: expected a secret in the environment variable VENDOR_KEY, got nothing"),
        ("two\nlines", "VENDOR_KEY, got no single line of printable ASCII"),
    ],
)
def test_a_missing_or_impossible_secret_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("VENDOR_KEY", value)
    with pytest.raises(SuspectConfigError, match=message):
        open_allowed(endpoint_file(tmp_path, "http://127.0.0.1:1/", tables=BEARER))


ECHO = f"invalid key {SECRET} ({ENCODED})".encode()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=401, body=ECHO),
        Reply(status=400, body=b"x" * 110 + ECHO),
        Reply(status=429, body=ECHO),
        Reply(status=500, body=ECHO),
        Reply(status=307, headers={"Location": f"https://vendor.example/{SECRET}"}),
        Reply(body=b"<html>" + ECHO),
        Reply(body=b"nonsense " + ECHO),
        Reply(body=f'{{"label": "{SECRET}"}}'.encode()),
        Reply(sent_bytes=3),
    ],
)
def test_an_echoed_secret_is_masked_in_errors_tracebacks_and_logs(
    tmp_path: Path, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_server(reply) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, "retries = 0", BEARER))
        with pytest.raises(SuspectError, match="expected") as caught:
            endpoint.predict(IMAGE)
        shown = "".join(traceback.format_exception(caught.value))
        shown += f"{caplog.text} {endpoint!r} {endpoint.identity} {vars(endpoint)}"
        endpoint.close()
    for part in (SECRET, ENCODED, "l1ve", "0123456789"):
        assert part not in shown


LONG = "sk-Pr0j/AbCdEfGhIjKlMnOpQrStUvWx0123456789"
WRITTEN = {
    "as it is": LONG,
    "in upper case": LONG.upper(),
    "percent-encoded": "".join(f"%{ord(each):02x}" for each in LONG),
    "in JSON": "".join(f"\\u{ord(each):04x}" for each in LONG),
    "in HTML": "".join(f"&#{ord(each)};" for each in LONG),
    "in base64": base64.b64encode(f"##{LONG}##".encode()).decode(),
}
PLACES: dict[str, Callable[[str], Reply]] = {
    "refusal": lambda text: Reply(status=400, body=text.encode()),
    "failure": lambda text: Reply(status=500, body=text.encode()),
    "page": lambda text: Reply(body=f"<html>{text}".encode()),
    "no JSON": lambda text: Reply(body=text.encode()),
    "UTF-16": lambda text: Reply(body=text.encode("utf-16")),
    "label": lambda text: Reply(body=f'{{"label": "{text}"}}'.encode()),
    "redirect": lambda text: Reply(status=308, headers={"Location": f"/{text}"}),
}


@pytest.mark.parametrize("before", [0, 100, 470])
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("place", PLACES)
def test_no_half_of_an_echoed_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, written: str, before: int
) -> None:
    monkeypatch.setenv("VENDOR_KEY", LONG)
    reply = PLACES[place](f"{'.' * before}key {WRITTEN[written]}")
    with scripted_server(reply) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, "retries = 0", BEARER))
        with pytest.raises(SuspectError, match="expected") as caught:
            endpoint.predict(IMAGE)
        endpoint.close()
    shown = "".join(traceback.format_exception(caught.value))
    for form in (LONG, WRITTEN[written]):
        for start in range(len(form) - 7):
            assert form[start : start + 8].lower() not in shown.lower().replace("?", "")


def test_an_error_of_an_answer_tells_what_it_holds_beside_the_secret(tmp_path: Path) -> None:
    body = f"no model for {SECRET} in eu-1".encode()
    with scripted_server(Reply(body=body)) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, "retries = 0", BEARER))
        with pytest.raises(SuspectError, match=r"no model for \*\*\* in eu-1"):
            endpoint.predict(IMAGE)
        endpoint.close()


def test_an_answer_that_repeats_the_secret_is_read_as_it_came(tmp_path: Path) -> None:
    body = f'{{"label": "dog", "you": "{SECRET}"}}'.encode()
    with scripted_server(Reply(body=body)) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, tables=BEARER))
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()


def test_a_label_that_nobody_could_read_does_not_make_a_message_that_nobody_can(
    tmp_path: Path,
) -> None:
    body = json.dumps({"label": "x" * 100_000}).encode()
    with scripted_server(Reply(body=body)) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url))
        with pytest.raises(SuspectError, match="label: expected one of cat, dog") as caught:
            endpoint.predict(IMAGE)
        endpoint.close()
    assert len(str(caught.value)) <= MAX_MESSAGE_CHARACTERS


def test_the_name_of_an_endpoint_has_no_query(tmp_path: Path) -> None:
    endpoint = open_allowed(endpoint_file(tmp_path, "https://vendor.example/v1?team=blue"))
    assert endpoint.identity.name == "https://vendor.example/v1"
    assert repr(endpoint) == "HttpEndpoint('https://vendor.example/v1')"
    endpoint.close()


def test_credentials_of_a_netrc_file_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc_path = tmp_path / "netrc"
    netrc_path.write_text("machine 127.0.0.1 login me password private\n")
    netrc_path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc_path))
    with scripted_server() as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url))
        endpoint.predict(IMAGE)
        endpoint.close()
    assert "Authorization" not in server.received[0].headers


@pytest.fixture
def certificate_path(tmp_path: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_an_unknown_certificate_is_refused_before_the_secret_leaves(
    tmp_path: Path, certificate_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path)
    with scripted_server(tls=context) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, tables=BEARER))
        with pytest.raises(SuspectUnreachableError, match="expected a certificate that can be"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert not server.received


def test_a_private_authority_is_trusted_through_its_variable(
    tmp_path: Path, certificate_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path)
    with scripted_server(tls=context) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, tables=BEARER))
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()
