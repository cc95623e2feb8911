"""A proxy on loopback between an endpoint and a server, which spoils answers on their way.

Every request reaches the server as it came, unless it is to get lost; its answer comes back as it
is, unless a fault says what happens to it. The server knows nothing of this, so that any will do.
"""

import gzip
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worlds.servers.in_thread import in_thread

UPSTREAM_TIMEOUT_S = 60.0
_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one answer; whatever is not said stays as the server made it."""

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    change: Callable[[bytes], bytes] | None = None
    """Makes another body out of the right one."""
    delay_s: float = 0.0
    sent_bytes: int | None = None
    """Close the connection after so many bytes of the body."""
    has_length: bool = True
    """Say Content-Length; without it the body ends with the connection."""
    drip_s: float = 0.0
    """Pause after each byte of the body."""
    is_packed: bool = False
    """Send the body as gzip."""
    is_reset: bool = False
    """Reset the connection instead of answering."""
    is_closed: bool = False
    """Close it instead."""
    is_lost: bool = False
    """The server never hears of the request; goes with one of the two above."""


Faults = Callable[[int], Fault | None]
"""From the number of the request, from 0; None lets the answer pass."""


@dataclass(frozen=True)
class _Answer:
    """What goes back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on to a port of this machine; counts those that may hold images (POST)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = port
        self.faults = faults
        """May be replaced at any time."""
        self.lock = threading.Lock()
        self.num_requests = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultProxy

    def do_GET(self) -> None:
        self._send(self._passed_on(b""), Fault())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            number = self.server.num_requests
            self.server.num_requests += 1
            fault = self.server.faults(number) or Fault()
        answer = None if fault.is_lost else self._passed_on(body)
        time.sleep(fault.delay_s)
        if fault.is_reset or fault.is_closed:
            self._hang_up(with_reset=fault.is_reset)
        else:
            assert answer is not None, "what is lost has no answer"
            self._send(answer, fault)

    def _passed_on(self, body: bytes) -> _Answer:
        upstream = HTTPConnection(
            "127.0.0.1", self.server.upstream_port, timeout=UPSTREAM_TIMEOUT_S
        )
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in _OF_ONE_CONNECTION
        }
        try:
            upstream.request(self.command, self.path, body or None, headers)
            with upstream.getresponse() as response:
                kept = {
                    name: value
                    for name, value in response.getheaders()
                    if name.lower() not in _OF_ONE_CONNECTION
                }
                return _Answer(response.status, kept, response.read())
        finally:
            upstream.close()

    def _send(self, answer: _Answer, fault: Fault) -> None:
        body = answer.body if fault.body is None else fault.body
        if fault.change is not None:
            body = fault.change(body)
        headers = {**answer.headers, **dict(fault.headers)}
        if fault.is_packed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self.send_response_only(fault.status or answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault.has_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: fault.sent_bytes]
        if fault.drip_s:
            for byte in sent:
                self.wfile.write(bytes([byte]))
                time.sleep(fault.drip_s)
        else:
            self.wfile.write(sent)
        if len(sent) < len(body) or not fault.has_length:
            self.close_connection = True

    def _hang_up(self, *, with_reset: bool) -> None:
        self.close_connection = True
        if with_reset:
            # With nothing to linger for, closing sends a reset; only the descriptor itself closes
            # at once.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def fault_proxy(port: int, faults: Faults) -> Iterator[FaultProxy]:
    """Stand in front of a port for the duration of a ``with`` block."""
    proxy = FaultProxy(port, faults)
    with in_thread(proxy):
        yield proxy


def at_random(rng: random.Random, share: float, kinds: Mapping[str, Fault]) -> Faults:
    """Spoil a share of the answers in ways drawn at random."""
    names = list(kinds)
    return lambda number: kinds[rng.choice(names)] if rng.random() < share else None


def without_faults(number: int) -> Fault | None:
    """Let every answer pass."""
    return None


def an_earlier_answer(rng: random.Random) -> Callable[[bytes], bytes]:
    """Return a change that gives each time some answer so far, as a broken cache does."""
    kept: list[bytes] = []

    def change(body: bytes) -> bytes:
        kept.append(body)
        return rng.choice(kept)

    return change


_DATE = "Sat, 01 Nov 2025 12:00:00 GMT"
_PAGE = b"<!doctype html><html><body>Please log in</body></html>"

PASSING: dict[str, Fault] = {
    "delay": Fault(delay_s=0.03),
    "no answer in time": Fault(delay_s=0.4),
    "reset": Fault(is_reset=True),
    "reset on the way there": Fault(is_reset=True, is_lost=True),
    "closed": Fault(is_closed=True),
    "truncated body": Fault(sent_bytes=5),
    "no byte of the body": Fault(sent_bytes=0),
    "truncated body of unknown length": Fault(sent_bytes=12, has_length=False),
    "whole body of unknown length": Fault(has_length=False),
    "slow body": Fault(drip_s=0.1),
    "slow and truncated body": Fault(drip_s=0.002, sent_bytes=5),
    "wrong content type": Fault(headers=(("Content-Type", "text/html"),)),
    "gzip": Fault(is_packed=True),
    "truncated gzip": Fault(is_packed=True, sent_bytes=12),
    "not gzip": Fault(headers=(("Content-Encoding", "gzip"),)),
    "500": Fault(status=500, body=b"oops"),
    "502": Fault(status=502, body=b"<html>bad gateway</html>"),
    "503": Fault(status=503, body=b"", headers=(("Retry-After", "0"),)),
    "503 until a date": Fault(
        status=503, body=b"", headers=(("Date", _DATE), ("Retry-After", _DATE))
    ),
    "429": Fault(status=429, body=b'{"error": "slow down"}', headers=(("Retry-After", "0"),)),
    "429 until a date": Fault(
        status=429, body=b"", headers=(("Date", _DATE), ("Retry-After", _DATE))
    ),
    "500 with a right answer": Fault(status=500),
    "empty body": Fault(body=b""),
    "half of a document": Fault(body=b'{"labels": [1'),
}
"""After these, asking again brings the answer."""


def is_quick(fault: Fault) -> bool:
    """Whether a fault takes less than the time-outs of the tests."""
    return fault.delay_s + fault.drip_s < 0.1


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """A fault that every request meets from some moment on, and how the audit ends."""

    fault: Fault
    status: int
    """Exit status."""
    message: str
    """Regular expression for what standard error says."""


LASTING: dict[str, Lasting] = {
    "redirect": Lasting(
        fault=Fault(status=302, headers=(("Location", "https://elsewhere.example/login?k=1"),)),
        status=14,
        message=r"url: expected an answer, got a redirect \(status 302\) to "
        r"https://elsewhere\.example/login; ",
    ),
    "page with status 200": Lasting(
        fault=Fault(body=_PAGE, headers=(("Content-Type", "text/html"),)),
        status=14,
        message="url: expected JSON, got a web page",
    ),
    "label outside the map": Lasting(
        fault=Fault(body=b'{"labels": ["unheard of"]}'),
        status=14,
        message="unheard of",
    ),
    "class outside the map": Lasting(
        fault=Fault(body=b'{"labels": [4711]}'), status=14, message="4711"
    ),
    "no document": Lasting(fault=Fault(body=b"ok"), status=14, message="JSON"),
    "wrong request": Lasting(
        fault=Fault(status=422, body=b'{"detail": "no such field"}'),
        status=2,
        message="request: expected an answer, got status 422 .*no such field",
    ),
    "no credentials": Lasting(
        fault=Fault(status=401, body=b"who are you"),
        status=14,
        message=r"auth: expected to be let in, got status 401 \(who are you\)",
    ),
}
"""These stop an audit."""
