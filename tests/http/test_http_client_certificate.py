"""Mutual TLS: the server wants a certificate of the client's, and gets the one that is allowed."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from worlds.allowed import open_allowed
from worlds.servers.http_faults import ScriptedServer, endpoint_file, scripted_server
from worlds.servers.private_authority import PrivateAuthority, make_authority

from adapters.endpoint.grants import NotGrantedError
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError, SuspectError

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
CA = 'ca_bundle = "root.pem"\nretries = 0'
PAIR = '[client_certificate]\ncertificate = "client.pem"\nkey = "client.key"'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> PrivateAuthority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: PrivateAuthority) -> Iterator[ScriptedServer]:
    context, _ = authority.server("api.test")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.root_path)
    with scripted_server(tls=context) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, authority: PrivateAuthority) -> Path:
    """Return a folder with a client's certificate, its key, and both in one file."""
    before = set(authority.folder.iterdir())
    authority.server("client")
    (both,) = set(authority.folder.iterdir()) - before
    text = both.read_text()
    certificate, begin, rest = text.partition("-----BEGIN PRIVATE KEY")
    (tmp_path / "root.pem").write_bytes(authority.root_path.read_bytes())
    (tmp_path / "client.pem").write_text(certificate)
    for name, content in (("client.key", begin + rest), ("both.pem", text)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def encrypt(path: Path, passphrase: bytes) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
    )


@pytest.mark.parametrize("table", [PAIR, '[client_certificate]\ncertificate = "both.pem"'])
def test_a_server_that_wants_a_certificate_gets_it(
    folder: Path, server: ScriptedServer, table: str
) -> None:
    endpoint = open_allowed(endpoint_file(folder, server.url, CA, table))
    assert [int(endpoint.predict(IMAGE).labels[0]) for _ in range(2)] == [1, 1]
    endpoint.close()
    assert server.num_connections == 1


def test_a_key_may_have_a_passphrase(
    folder: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypt(folder / "client.key", b"open sesame")
    path = endpoint_file(folder, server.url, CA, f'{PAIR}\npassphrase_env = "PHRASE"')
    monkeypatch.setenv("PHRASE", "open sesame")
    endpoint = open_allowed(path)
    assert endpoint.predict(IMAGE).labels[0] == 1
    endpoint.close()
    monkeypatch.setenv("PHRASE", "close sesame")
    with pytest.raises(SuspectConfigError, match="check the files and the passphrase") as error:
        open_allowed(path)
    assert "sesame" not in str(error.value)
    # Without one, OpenSSL would ask at the terminal.
    with pytest.raises(SuspectConfigError, match="got no such pair"):
        open_allowed(endpoint_file(folder, server.url, CA, PAIR))


def test_without_it_the_server_hangs_up(folder: Path, server: ScriptedServer) -> None:
    endpoint = open_allowed(endpoint_file(folder, server.url, CA))
    with pytest.raises(SuspectError):
        endpoint.predict(IMAGE)
    endpoint.close()
    assert server.received == []


def test_certificate_and_key_need_leave(folder: Path, server: ScriptedServer) -> None:
    path = endpoint_file(folder, server.url, "", PAIR)
    with pytest.raises(NotGrantedError) as error:
        open_endpoint(path)
    assert [str(need.grant) for need in error.value.needs] == [
        f"file:{folder}/{name}@{server.url.removesuffix('/classify').removeprefix('https://')}"
        for name in ("client.pem", "client.key")
    ]
    assert "as the client's certificate" in error.value.needs[0].told


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "client.key").chmod(0o644), "only you can read, got mode 0644"),
        (lambda folder: (folder / "client.key").unlink(), "client_certificate.key: expected"),
        (lambda folder: (folder / "client.pem").write_text("x"), "expected a PEM certificate in"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    folder: Path, server: ScriptedServer, spoil: object, message: str
) -> None:
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(SuspectConfigError, match=message):
        open_allowed(endpoint_file(folder, server.url, "", PAIR))


def test_there_is_none_without_tls(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match="client_certificate: expected none beside a http"):
        open_allowed(endpoint_file(tmp_path, "http://127.0.0.1:1/", "", PAIR))
