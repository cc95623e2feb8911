"""Answers that Python's own client reads are read, and what nobody reads is named, once."""

import gzip
import http.client
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from worlds.servers.byte_server import byte_server
from worlds.servers.http_faults import endpoint_file

from adapters.endpoint.wire_format import AskAgainError
from adapters.http.answer_reader import WholeAnswer, read_answer
from adapters.http.opening import open_endpoint
from adapters.suspect import SuspectConfigError, SuspectError, SuspectUnreachableError

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
CAT = b'{"label": "cat"}'
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 16\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"10\r\n" + CAT + b"\r\n0\r\n\r\n"

TAKEN = {
    "chunked counts before a length": OK + LENGTH + CHUNKED + b"\r\n" + CHUNK,
    "chunked, then a length": OK + CHUNKED + LENGTH + b"\r\n" + CHUNK,
    "one length twice": OK + LENGTH + LENGTH + b"\r\n" + CAT,
    "one length in a list": OK + b"Content-Length: 16, 16\r\n\r\n" + CAT,
    "a plus before a length": OK + b"Content-Length: +16\r\n\r\n" + CAT,
    "an empty length": OK + b"Content-Length:\r\n\r\n" + CAT,
    "a blank before a colon": OK + b"Server : old\r\n" + LENGTH + b"\r\n" + CAT,
    "a blank in a name": OK + b"X My Header: x\r\n" + LENGTH + b"\r\n" + CAT,
    "no name": OK + b": x\r\n" + LENGTH + b"\r\n" + CAT,
    "no colon": OK + b"Garbage\r\n" + LENGTH + b"\r\n" + CAT,
    "control in a cookie": OK + b"Set-Cookie: a=\x01b\r\n" + LENGTH + b"\r\n" + CAT,
    "delete in a header": OK + b"X: a\x7fb\r\n" + LENGTH + b"\r\n" + CAT,
    "a folded header": OK + b"X-Long: a\r\n  b\r\n" + LENGTH + b"\r\n" + CAT,
    "identity": OK + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + CAT,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + LENGTH + b"\r\n" + CAT,
    "blanks behind a chunk's length": OK + CHUNKED + b"\r\n10  \r\n" + CAT + b"\r\n0\r\n\r\n",
    "a blank before an extension": OK + CHUNKED + b"\r\n10 ; a=b\r\n" + CAT + b"\r\n0\r\n\r\n",
    "no line behind the last chunk": OK + CHUNKED + b"\r\n10\r\n" + CAT + b"\r\n0\r\n",
}
REFUSED = {
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "5 and 6"),
    "a length that is none": (OK + b"Content-Length: ten\r\n\r\nhello", "'ten', which is no num"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "'SSH-2.0-OpenSSH_9.2' as its first line"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n" + LENGTH + b"\r\n" + CAT, "'HTTP/2 200 OK' as its first"),
    # 17 + 28 + 2 bytes of head, so the chunk's length should begin at byte 47.
    "a chunk without length": (OK + CHUNKED + b"\r\nzz\r\n" + CAT, "'zz' at byte 47"),
}


def read(data: bytes, *, piecewise: bool) -> WholeAnswer:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        step = 1 if piecewise else len(data)
        for start in range(0, len(data), step):
            theirs.sendall(data[start : start + step])
        theirs.shutdown(socket.SHUT_WR)
        return read_answer(ours, 5.0)


@pytest.mark.parametrize("name", TAKEN)
def test_what_pythons_client_takes_is_taken(name: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(TAKEN[name])
        theirs.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(ours, method="POST")
        response.begin()
        assert response.read() == CAT  # the standard that is set
        response.close()
    for piecewise in (False, True):
        answer = read(TAKEN[name], piecewise=piecewise)
        assert (answer.status, answer.body) == (200, CAT)
        # Nobody else may agree where it ends.
        assert not answer.keeps_connection


def test_every_cut_of_a_lenient_answer_is_an_answer_or_none() -> None:
    for data in TAKEN.values():
        for end in range(1, len(data)):
            try:
                answer = read(data[:end], piecewise=False)
            except (AskAgainError, SuspectUnreachableError, OSError):
                continue
            assert answer.body == CAT or "Content-Length" not in answer.headers


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_reads_is_named_and_asked_once(tmp_path: Path, name: str) -> None:
    data, said = REFUSED[name]
    with byte_server(data, closes=True) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        endpoint = open_endpoint(endpoint_file(tmp_path, url, "retries = 5"))
        with pytest.raises(SuspectUnreachableError, match=f"something that is not HTTP: .*{said}"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert server.num_connections == 1


def test_headers_of_a_lenient_answer_are_bounded() -> None:
    many = OK + b"Bad Name: x\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(300)) + b"\r\n"
    with pytest.raises(SuspectUnreachableError, match="more than 256 headers"):
        read(many, piecewise=False)
    with pytest.raises(SuspectUnreachableError, match="KiB"):
        read(OK + b"Bad Name: x\r\nX: " + b"a" * 200_000, piecewise=False)


def test_a_lenient_answer_may_be_compressed(tmp_path: Path) -> None:
    body = gzip.compress(CAT)
    head = OK + b"Server : old\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with byte_server(head + body, closes=True) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        endpoint = open_endpoint(endpoint_file(tmp_path, url))
        assert endpoint.predict(IMAGE).labels.tolist() == [0]
        endpoint.close()


def said_of(tmp_path: Path, body: bytes, status: bytes = b"200 OK") -> list[int]:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    with byte_server(head + body, closes=True) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        endpoint = open_endpoint(endpoint_file(tmp_path, url, "retries = 3"))
        try:
            labels = endpoint.predict(IMAGE).labels.tolist()
        finally:
            endpoint.close()
        assert server.num_connections == 1
    return [int(label) for label in labels]


@pytest.mark.parametrize("tail", [b"\0", b"\0\r\n", b"\n\n", b" \t\0\0"])
def test_nuls_and_blanks_behind_an_answer_do_not_count(tmp_path: Path, tail: bytes) -> None:
    assert said_of(tmp_path, CAT + tail) == [0]


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        # The cat has 16 bytes.
        (b"\nOK\n", "'OK' at byte 18 (line 2, column 1)"),
        (b"]", "']' at byte 17 (line 1, column 17)"),
    ],
)
def test_json_with_something_behind_it_is_said_to_be_that_at_once(
    tmp_path: Path, tail: bytes, told: str
) -> None:
    told = re.escape(f"expected JSON alone, got {told}")
    with pytest.raises(SuspectError, match=told):
        said_of(tmp_path, CAT + tail)


def test_accepted_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"got status 202: .* later or elsewhere"):
        said_of(tmp_path, b'{"id": "job-1", "label": "cat"}', b"202 Accepted")


def test_no_content_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"got status 204: .* nothing to say"):
        said_of(tmp_path, b"", b"204 No Content")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "compress"])
def test_a_compression_that_nobody_asked_for_is_named(tmp_path: Path, coding: str) -> None:
    body = b"\x0b\x02\x80abc\x03"
    head = OK + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with byte_server(head + body, closes=True) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        endpoint = open_endpoint(endpoint_file(tmp_path, url, "retries = 3"))
        with pytest.raises(SuspectUnreachableError, match=f"compressed as '{coding}'"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert server.num_connections == 1


def test_codings_that_are_none_are_passed_over(tmp_path: Path) -> None:
    for coding in (b"UTF-8", b"identity", b"none", b"br"):  # the last one says so and is not
        head = OK + b"Content-Encoding: " + coding + b"\r\nContent-Length: %d\r\n\r\n" % len(CAT)
        with byte_server(head + CAT, closes=True) as server:
            url = f"http://127.0.0.1:{server.port}/v1"
            endpoint = open_endpoint(endpoint_file(tmp_path, url))
            assert endpoint.predict(IMAGE).labels.tolist() == [0]
            endpoint.close()
