"""A real HTTP server on loopback that answers by script and remembers what it was asked."""

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from worlds.servers.in_thread import in_thread

BASE_FILE = """\
format = "generic"
url = "{url}"
class_names = ["cat", "dog", "horse"]
{fields}
[request]
template = '{{"image": "{{{{image_base64_png}}}}"}}'
[answer]
label = "label"
{tables}
"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer, with what goes wrong while it is sent."""

    body: bytes = b'{"label": "dog"}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    sent_bytes: int | None = None
    """Close the connection after so many bytes of the body."""
    has_length: bool = True
    """Say Content-Length; without it the body ends with the connection."""
    drip_s: float = 0.0
    """Pause after each byte of the body."""
    together: threading.Barrier | None = None
    """Answer only when so many requests are here."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    time_s: float


class ScriptedServer(ThreadingHTTPServer):
    """Answers with the replies in order; the last one is repeated."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, replies: Sequence[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.received: list[Received] = []
        self.num_connections = 0
        self.max_in_flight = 0
        self.in_flight = 0
        self.lock = threading.Lock()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/classify"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ScriptedServer

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.num_connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            number = len(self.server.received)
            self.server.received.append(
                Received(
                    method=self.command,
                    path=self.path,
                    headers=dict(self.headers),
                    body=body,
                    time_s=time.monotonic(),
                )
            )
            self.server.in_flight += 1
            self.server.max_in_flight = max(self.server.max_in_flight, self.server.in_flight)
        try:
            self._send(self.server.replies[min(number, len(self.server.replies) - 1)])
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    do_PUT = do_POST  # noqa: N815

    def _send(self, reply: Reply) -> None:
        time.sleep(reply.delay_s)
        if reply.together is not None:
            reply.together.wait()
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.has_length:
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.close_connection = True
        self.end_headers()
        body = reply.body[: reply.sent_bytes]
        if reply.drip_s:
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(reply.drip_s)
        else:
            self.wfile.write(body)
        if reply.sent_bytes is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def scripted_server(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serve for the duration of a ``with`` block."""
    server = ScriptedServer(replies or [Reply()])
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    with in_thread(server):
        yield server


def endpoint_file(folder: Path, url: str, fields: str = "", tables: str = "") -> Path:
    """Write an endpoint file with three classes: cat, dog, horse."""
    path = folder / "endpoint.toml"
    path.write_text(BASE_FILE.format(url=url, fields=fields, tables=tables), encoding="utf-8")
    return path
