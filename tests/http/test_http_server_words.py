"""What a server shows of itself: its certificate and the headers that name a model."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from worlds.allowed import open_allowed
from worlds.servers.http_faults import Reply, endpoint_file, scripted_server
from worlds.servers.private_authority import PrivateAuthority, make_authority

from adapters.http.server_identity import MAX_LENGTH, server_words
from adapters.suspect import SuspectConfigError, SuspectUnreachableError

IMAGE = np.zeros((1, 8, 8, 3), dtype=np.uint8)
BEARER = '[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"'


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateAuthority:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    return make_authority(tmp_path)


def said(folder: Path, url: str, fields: str = "", tables: str = "") -> dict[str, str]:
    """Ask once and return what came with the label."""
    endpoint = open_allowed(endpoint_file(folder, url, fields, tables))
    try:
        return endpoint.predict(IMAGE).metadata
    finally:
        endpoint.close()


def test_the_certificate_of_the_connection_comes_with_the_answer(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    tls, certificate = authority.server("vendor of the tests")
    with scripted_server(tls=tls) as server:
        assert said(tmp_path, server.url, 'ca_bundle = "root.pem"') == {
            "tls.certificate_sha256": hashlib.sha256(certificate).hexdigest(),
            "tls.subject": "CN=vendor of the tests",
            "tls.issuer": "CN=root of the tests",
            "tls.valid_from": "2026-01-01T00:00:00Z",
            "tls.valid_to": "2099-01-01T00:00:00Z",
        }


def test_the_certificate_is_known_even_if_the_server_closes_each_connection(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    tls, _ = authority.server("vendor")
    closing = Reply(headers={"Connection": "close"}, has_length=False)
    with scripted_server(closing, tls=tls) as server:
        words = said(tmp_path, server.url, 'ca_bundle = "root.pem"')
    assert words["tls.subject"] == "CN=vendor"


def test_every_answer_over_a_kept_connection_names_the_certificate(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    tls, _ = authority.server("vendor")
    with scripted_server(tls=tls) as server:
        endpoint = open_allowed(endpoint_file(tmp_path, server.url, 'ca_bundle = "root.pem"'))
        first, second = endpoint.predict(IMAGE), endpoint.predict(IMAGE)
        endpoint.close()
    assert server.num_connections == 1
    assert first.metadata == second.metadata
    assert "tls.certificate_sha256" in second.metadata


def test_an_authority_that_signed_nothing_here_does_not_count(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    (tmp_path / "other").mkdir()
    stranger = make_authority(tmp_path / "other")
    tls, _ = stranger.server("vendor")
    with (
        scripted_server(tls=tls) as server,
        pytest.raises(SuspectUnreachableError, match="name its file as ca_bundle"),
    ):
        said(tmp_path, server.url, 'ca_bundle = "root.pem"')


def test_the_authority_of_an_endpoint_is_named_by_its_digest(
    tmp_path: Path, authority: PrivateAuthority
) -> None:
    path = endpoint_file(tmp_path, "https://127.0.0.1:1/", 'ca_bundle = "root.pem"')
    endpoint = open_allowed(path)
    endpoint.close()
    digest = hashlib.sha256(authority.root_path.read_bytes()).hexdigest()
    assert endpoint.identity.details["ca_bundle_sha256"] == digest


@pytest.mark.parametrize(
    ("content", "found"), [(None, "No such file"), (b"", "none"), (b"no certificate", "none")]
)
def test_a_file_without_certificates_is_refused_before_anything_is_sent(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    if content is not None:
        (tmp_path / "root.pem").write_bytes(content)
    path = endpoint_file(tmp_path, "https://127.0.0.1:1/", 'ca_bundle = "root.pem"')
    with pytest.raises(
        SuspectConfigError, match=f"ca_bundle: expected PEM certificates in .*root.pem, got {found}"
    ):
        open_allowed(path)


def test_an_authority_for_a_connection_without_tls_is_refused(tmp_path: Path) -> None:
    path = endpoint_file(tmp_path, "http://127.0.0.1:1/", 'ca_bundle = "root.pem"')
    with pytest.raises(SuspectConfigError, match=r"line 4: ca_bundle: expected none beside"):
        open_allowed(path)


def test_headers_that_name_the_model_are_kept_and_no_others(tmp_path: Path) -> None:
    reply = Reply(
        headers={
            "Server": "nginx/1.27",
            "Via": "1.1 edge",
            "X-Request-ID": "r-17",
            "x-amzn-Invoked-Production-Variant": "blue",
            "azureml-model-deployment": "green",
            "Set-Cookie": "session=1234",
            "Authorization": "Bearer 1234",
            "X-Powered-By": "1234",
        }
    )
    with scripted_server(reply) as server:
        assert said(tmp_path, server.url) == {
            "header.server": "nginx/1.27",
            "header.via": "1.1 edge",
            "header.x-request-id": "r-17",
            "header.x-amzn-invoked-production-variant": "blue",
            "header.azureml-model-deployment": "green",
        }


def test_words_of_a_server_are_cut_and_made_printable(tmp_path: Path) -> None:
    reply = Reply(
        body=json.dumps({"label": "dog", "model": "\u202e\x1b[31m\ud800" + "y" * 9999}).encode(),
        headers={"Server": "a\tb\x9b31m" + "x" * 999},
    )
    with scripted_server(reply) as server:
        words = said(tmp_path, server.url, tables='metadata = { version = "model" }')
    assert words["version"].startswith("??[31m?yyy")
    assert words["header.server"].startswith("a?b?31mxxx")
    assert all(len(word) == MAX_LENGTH for word in words.values())
    assert all(word.isprintable() for word in words.values())


def test_a_secret_that_a_server_repeats_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "hunter2-hunter2")
    # The secret would straddle the end of what is kept.
    reply = Reply(headers={"X-Request-Id": "r" * (MAX_LENGTH - 8) + "hunter2-hunter2"})
    with scripted_server(reply) as server:
        words = said(tmp_path, server.url, tables=BEARER)
    assert "hunter" not in words["header.x-request-id"]


def test_a_certificate_that_cannot_be_read_is_named_by_its_digest() -> None:
    assert server_words({}, b"not a certificate") == {
        "tls.certificate_sha256": hashlib.sha256(b"not a certificate").hexdigest()
    }
