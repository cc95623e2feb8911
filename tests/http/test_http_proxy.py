"""Requests to other machines go through the proxy that the usual variables name."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from worlds.allowed import open_allowed
from worlds.servers.http_faults import Reply, endpoint_file, scripted_server
from worlds.servers.private_authority import make_authority

from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectUnreachableError

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def test_a_plain_request_reaches_the_proxy_with_the_whole_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_server(Reply(body=b'{"label": "cat"}')) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:word@127.0.0.1:{proxy.server_address[1]}")
        endpoint = open_endpoint(endpoint_file(tmp_path, "http://vendor.invalid/v1?team=blue"))
        assert endpoint.predict(IMAGE).labels.tolist() == [0]
        endpoint.close()
    (received,) = proxy.received
    assert received.path == "http://vendor.invalid/v1?team=blue"
    assert received.headers["Host"] == "vendor.invalid"
    told = received.headers["Proxy-Authorization"]
    assert base64.b64decode(told.removeprefix("Basic ")) == b"me:word"


def test_no_proxy_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "vendor.invalid")
        endpoint = open_endpoint(endpoint_file(tmp_path, "http://vendor.invalid/", "retries = 0"))
        with pytest.raises(SuspectUnreachableError, match="no such host"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert not proxy.received


class Tunnel:
    """A proxy that connects every CONNECT to one port of this machine."""

    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.target_port = port
        self.heads: list[bytes] = []

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.heads.append(head)
        server = socket.create_connection(("127.0.0.1", self.target_port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threads = [
            threading.Thread(target=self._pipe, args=pair, daemon=True)
            for pair in ((client, server), (server, client))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
        server.close()

    @staticmethod
    def _pipe(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def tunnel(port: int) -> Iterator[Tunnel]:
    proxy = Tunnel(port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.listening.shutdown(socket.SHUT_RDWR)
        proxy.listening.close()
        thread.join(5)


def test_tls_goes_through_a_tunnel_in_which_the_proxy_sees_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "sk-0123456789")
    tls, _ = make_authority(tmp_path).server("vendor.example")
    auth = '[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"'
    with (
        scripted_server(Reply(body=b'{"label": "horse"}'), tls=tls) as server,
        tunnel(int(server.server_address[1])) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        url = "https://vendor.example/v1"
        path = endpoint_file(tmp_path, url, 'ca_bundle = "root.pem"', auth)
        endpoint = open_allowed(path)
        answers = [endpoint.predict(IMAGE) for _ in range(3)]
        endpoint.close()
    assert [answer.labels.tolist() for answer in answers] == [[2]] * 3
    assert all("vendor.example" in answer.metadata["tls.subject"] for answer in answers)
    assert proxy.heads[0].startswith(b"CONNECT vendor.example:443 HTTP/1.")
    assert b"sk-0123456789" not in b"".join(proxy.heads)
    assert {received.path for received in server.received} == {"/v1"}
    assert server.received[0].headers["Authorization"] == "Bearer sk-0123456789"


def test_another_server_at_the_end_of_a_tunnel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, _ = make_authority(tmp_path).server("somebody.example")
    with (
        scripted_server(tls=tls) as server,
        tunnel(int(server.server_address[1])) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        path = endpoint_file(tmp_path, "https://vendor.example/", 'ca_bundle = "root.pem"')
        endpoint = open_allowed(path)
        with pytest.raises(SuspectUnreachableError, match="expected a certificate that can be"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert not server.received


def test_ca_bundle_of_the_command_line_counts_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    make_authority(tmp_path / "other")
    tls, _ = make_authority(tmp_path).server("vendor.example")
    with scripted_server(tls=tls) as server, tunnel(int(server.server_address[1])) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        fields = 'ca_bundle = "other/root.pem"\nretries = 0'
        path = endpoint_file(tmp_path, "https://vendor.example/", fields)
        wrong = open_allowed(path)
        with pytest.raises(SuspectUnreachableError, match="expected a certificate that can be"):
            wrong.predict(IMAGE)
        wrong.close()
        right = open_allowed(path, ca_bundle=tmp_path / "root.pem")
        assert right.predict(IMAGE).labels.tolist() == [1]
        right.close()
