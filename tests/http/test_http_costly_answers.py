"""Answers that would cost more than any answer of a classifier are broken off, and asked once."""

import gzip
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
from worlds.servers.byte_server import byte_server
from worlds.servers.http_faults import Reply, endpoint_file, scripted_server

from adapters.http.answer_reader import (
    MAX_ANSWER_BYTES,
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    read_answer,
)
from adapters.http.opening import open_endpoint
from adapters.http.retry_headers import seconds_to_wait, seconds_until_quota
from adapters.suspect import SuspectUnreachableError

IMAGE = np.zeros((1, 4, 4, 3), dtype=np.uint8)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n"
PACKET_BYTES = 1 << 16


class EndlessSocket:
    """Gives the same bytes for ever after the first ones, and counts them."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._waiting = itertools.chain([first], itertools.repeat(again))
        self.num_bytes = 0

    def settimeout(self, value: float | None, /) -> None:
        pass

    def recv(self, size: int, /) -> bytes:
        data = next(self._waiting)
        assert len(data) <= size
        self.num_bytes += len(data)
        return data


def many(line: bytes) -> bytes:
    return line * (PACKET_BYTES // len(line))


@pytest.mark.parametrize(
    ("first", "again", "most"),
    [
        (OK, many(b"X-A: 1\r\n"), MAX_HEAD_BYTES),
        (OK + b"X-A: ", b"x" * PACKET_BYTES, MAX_HEAD_BYTES),
        (OK, b"X" * PACKET_BYTES, MAX_HEAD_BYTES),
        (b"HTTP/1.1 200 ", b"K" * PACKET_BYTES, MAX_HEAD_BYTES),
        (HINT, many(HINT), MAX_HEAD_BYTES),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", many(b"X-A: 1\r\n"), MAX_FRAMING_BYTES),
        (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: ", b"x" * PACKET_BYTES, MAX_FRAMING_BYTES),
        (CHUNKED + b"2;a=", b"x" * PACKET_BYTES, MAX_FRAMING_BYTES),
        (CHUNKED, many(b"1;a=b\r\n{\r\n"), 2 * MAX_FRAMING_BYTES),
        (CHUNKED + b"2\r\n{}\r\n", b"0" * PACKET_BYTES, MAX_FRAMING_BYTES),
        (OK + b"\r\n", b"x" * PACKET_BYTES, MAX_ANSWER_BYTES),
    ],
    ids=[
        "headers",
        "a long header",
        "a long name",
        "a long reason",
        "early hints",
        "trailers",
        "a long trailer",
        "a chunk's extension",
        "small chunks",
        "a chunk's size",
        "a body",
    ],
)
def test_an_answer_without_end_is_read_no_further_than_its_limit(
    first: bytes, again: bytes, most: int
) -> None:
    sock = EndlessSocket(first, again)
    with pytest.raises(SuspectUnreachableError, match="url: expected an answer of a classifier"):
        read_answer(sock, 60)
    assert sock.num_bytes <= most + 2 * PACKET_BYTES


def test_as_many_headers_as_anybody_sends_are_read() -> None:
    lines = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS - 1))
    sock = EndlessSocket(OK + lines + b"Content-Length: 2\r\n\r\n{}", b"")
    assert read_answer(sock, 60).body == b"{}"


def test_one_header_more_is_refused_before_it_is_kept() -> None:
    lines = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS))
    sock = EndlessSocket(OK + lines + b"Content-Length: 2\r\n\r\n{}", b"")
    with pytest.raises(SuspectUnreachableError, match=f"more than {MAX_HEADERS} headers"):
        read_answer(sock, 60)


def test_headers_of_early_answers_count_too() -> None:

    sock = EndlessSocket(HINT * (MAX_HEADERS + 1) + OK + b"Content-Length: 0\r\n\r\n", b"")
    with pytest.raises(SuspectUnreachableError, match=f"more than {MAX_HEADERS} headers"):
        read_answer(sock, 60)


def test_what_follows_a_compressed_body_is_not_read(tmp_path: Path) -> None:
    reply = Reply(
        body=gzip.compress(b'{"label": "dog"}') + b"\0\0", headers={"Content-Encoding": "gzip"}
    )
    with scripted_server(reply) as server:
        endpoint = open_endpoint(endpoint_file(tmp_path, server.url))
        assert endpoint.predict(IMAGE).labels.tolist() == [1]
        endpoint.close()


def test_a_server_with_endless_headers_is_asked_once(tmp_path: Path) -> None:
    answer = OK + b"X-A: 1\r\n" * 100_000
    with byte_server(answer, at_once=True, closes=True) as server:
        path = endpoint_file(tmp_path, f"http://127.0.0.1:{server.port}/v1", "retries = 11")
        endpoint = open_endpoint(path)
        with pytest.raises(SuspectUnreachableError, match="headers; check the address"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert len(server.heads) == 1


BOMBS = [
    ("gzip", gzip.compress(bytes(MAX_ANSWER_BYTES + 1))),
    ("deflate", zlib.compress(bytes(MAX_ANSWER_BYTES + 1))),
    ("gzip", gzip.compress(bytes(MAX_ANSWER_BYTES // 2)) * 3),
]


@pytest.mark.parametrize(("coding", "body"), BOMBS, ids=["gzip", "deflate", "members"])
def test_a_body_is_unpacked_no_further_than_an_answer_is_long(
    tmp_path: Path, coding: str, body: bytes
) -> None:
    reply = Reply(body=body, headers={"Content-Encoding": coding})
    with scripted_server(reply) as server:
        endpoint = open_endpoint(endpoint_file(tmp_path, server.url, "retries = 11"))
        with pytest.raises(SuspectUnreachableError, match="more than 16 MiB"):
            endpoint.predict(IMAGE)
        endpoint.close()
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "value",
    ['"' + '\\"' * 30_000, " " * 60_000 + "x", '"a";' * 15_000, "," * 60_000, "1" * 60_000],
    ids=["open quote", "blanks", "quotes", "commas", "digits"],
)
@pytest.mark.parametrize("name", ["RateLimit", "RateLimit-Policy", "Retry-After", "Date"])
def test_a_pause_that_takes_long_to_read_is_not_read(name: str, value: str) -> None:
    headers = {"RateLimit": '"api";r=0;t=55', "Retry-After": "7", name: value}
    told = {seconds_to_wait(headers), seconds_until_quota(headers)}
    assert told <= {7.0, 15.0, 55.0, None}


REDIRECTS = ["http://[", "//[::1", "http://a:b:c", "http://\xa0\u2100/", "", "/\x9b2J"]


@pytest.mark.parametrize("location", REDIRECTS)
def test_a_redirect_to_no_address_is_refused_like_any_other(tmp_path: Path, location: str) -> None:
    head = f"HTTP/1.1 307 Moved\r\nLocation: {location}\r\n\r\n".encode()
    with byte_server(head, at_once=True, closes=True) as server:
        path = endpoint_file(tmp_path, f"http://127.0.0.1:{server.port}/v1", "retries = 11")
        endpoint = open_endpoint(path)
        with pytest.raises(SuspectUnreachableError, match=r"a redirect \(status 307\)") as caught:
            endpoint.predict(IMAGE)
        endpoint.close()
    assert str(caught.value).isprintable()


ODD_FIELDS = ["", " ", "\xb2", "-1", "7" * 900, "1e999", "nan", "1 Jan 2020 00:00:00 +" + "9" * 30]


@pytest.mark.parametrize("value", ODD_FIELDS)
@pytest.mark.parametrize("name", ["Retry-After", "RateLimit-Reset", "X-RateLimit-Reset", "Date"])
def test_a_pause_that_means_nothing_is_no_error(name: str, value: str) -> None:
    told = seconds_to_wait({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", name: value})
    assert told is None or 0 <= told < 1e9
