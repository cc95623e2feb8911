"""Answers as servers really write them, byte by byte, and what must not be taken for one."""

import gzip
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from worlds.servers.byte_server import ByteServer, byte_server
from worlds.servers.http_faults import endpoint_file

from adapters.http.connection import request_head
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError, SuspectUnreachableError

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
CAT = b'{"label": "cat"}'


def ask(
    tmp_path: Path, server: ByteServer, times: int = 1, fields: str = "retries = 0"
) -> list[int]:
    endpoint = open_endpoint(endpoint_file(tmp_path, f"http://127.0.0.1:{server.port}/v1", fields))
    try:
        return [int(endpoint.predict(IMAGE).labels[0]) for _ in range(times)]
    finally:
        endpoint.close()


def with_length(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "answer",
    [
        with_length(CAT),
        with_length(CAT, b"HTTP/1.1 200\r\n"),
        with_length(CAT, b"HTTP/1.1 200 OK\r\nX-Note: caf\xe9\r\n"),
        b"HTTP/1.1 200 OK\nContent-Length: 16\n\n" + CAT,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'9;why=not\r\n{"label":\r\n7\r\n "cat"}\r\n0\r\nX-Trailer: 1\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" + with_length(CAT),
        with_length(gzip.compress(CAT), b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"),
    ],
    ids=["length", "no reason", "latin-1", "bare LF", "chunked", "100 Continue", "gzip"],
)
def test_an_answer_is_read_however_it_is_framed(tmp_path: Path, answer: bytes) -> None:
    with byte_server(answer, answer) as server:
        assert ask(tmp_path, server, times=2) == [0, 0]
    assert server.num_connections == 1


def test_the_end_of_the_connection_ends_a_body_of_unknown_length(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + CAT
    with byte_server(answer, answer, closes=True) as server:
        assert ask(tmp_path, server, times=2) == [0, 0]
    assert server.num_connections == 2


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"]
)
def test_a_connection_that_the_server_will_close_is_not_used_again(
    tmp_path: Path, head: bytes
) -> None:
    answer = with_length(CAT, head)
    with byte_server(answer, answer, closes=True) as server:
        assert ask(tmp_path, server, times=2) == [0, 0]
    assert server.num_connections == 2


def test_what_follows_an_answer_is_never_taken_for_the_next_one(tmp_path: Path) -> None:
    stray = with_length(b'{"label": "dog"}')
    with byte_server(with_length(CAT) + stray, with_length(CAT), at_once=True) as server:
        assert ask(tmp_path, server, times=2) == [0, 0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + CAT, "cut short after 16 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}",
            "cut short after 2 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-", "a connection closed before it"),
        (
            with_length(b"\x1f\x8b nonsense", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"),
            "a compressed body that cannot be unpacked",
        ),
    ],
    ids=["another protocol", "two lengths", "short", "short chunk", "half a head", "bad gzip"],
)
def test_a_broken_answer_is_no_answer(tmp_path: Path, answer: bytes, said: str) -> None:
    with (
        byte_server(answer, closes=True) as server,
        pytest.raises(SuspectUnreachableError, match=said),
    ):
        ask(tmp_path, server)


def test_an_answer_that_unpacks_to_more_than_any_answer_is_refused(tmp_path: Path) -> None:
    body = gzip.compress(b" " * (17 << 20))
    answer = with_length(body, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
    with (
        byte_server(answer, closes=True) as server,
        pytest.raises(SuspectUnreachableError, match="more than 16 MiB"),
    ):
        ask(tmp_path, server)


def test_a_head_that_drips_in_does_not_outlast_the_time_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Pad: 0\r\n" * 1000:
                        connection.sendall(bytes([byte]))
                        if stop.wait(0.02):
                            return
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        endpoint = open_endpoint(endpoint_file(tmp_path, url, "retries = 0\ntimeout_s = 0.3"))
        with pytest.raises(SuspectUnreachableError, match=r"got none within 0.3 s"):
            endpoint.predict(IMAGE)
        endpoint.close()
        stop.set()
        thread.join()


def test_the_file_may_name_the_host_itself_and_it_is_said_once(tmp_path: Path) -> None:
    tables = '[headers]\nhost = "behind.example"'
    with byte_server(with_length(CAT)) as server:
        path = endpoint_file(tmp_path, f"http://127.0.0.1:{server.port}/v1", tables=tables)
        endpoint = open_endpoint(path)
        endpoint.predict(IMAGE)
        endpoint.close()
    (head,) = server.heads
    hosts = [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
    assert hosts == [b"host: behind.example"]


def test_a_secret_with_a_line_break_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "abc\r\nX-Smuggled: 1")
    tables = '[auth]\nscheme = "Bearer"\nenv = "VENDOR_KEY"'
    with pytest.raises(SuspectConfigError, match="VENDOR_KEY") as raised:
        open_endpoint(endpoint_file(tmp_path, "http://127.0.0.1:9/v1", tables=tables))
    assert "Smuggled" not in str(raised.value)


@pytest.mark.parametrize("text", ["a\r\nX-Smuggled: 1", "a\nb", "a\0b", "a\x1bb"])
def test_no_header_can_hold_another(text: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        request_head("POST", "/v1", {"Host": "vendor.example", "X-Note": text}, 0)
