"""An OAuth2 server for client credentials, and an API that wants its tokens; both on loopback."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from worlds.servers.in_thread import in_thread

CLIENT, SECRET = "kinprint at work", "s3cr+t/0123456789 of a client"
BASE = "tok-0a1b2c3d4e5f-"
"""Begins every token."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class TokenServer(ThreadingHTTPServer):
    """Hands out ``tok-...-0``, ``tok-...-1``, ... at ``/token``; only the newest is good.

    ``uses`` says how often a token is good at the API (``/classify``), which answers with "dog" or
    with what ``reply`` makes of a request's body; ``faults`` are answers of ``/token`` that come
    before the good ones.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.expires_in: Any = 3600
        self.uses = 1_000_000
        self.left = 0
        self.num_tokens = 0
        self.faults: list[tuple[int, dict[str, Any]]] = []
        self.reply: Callable[[bytes], dict[str, Any]] = lambda body: {"label": "dog"}
        self.tokens_asked: list[Asked] = []
        self.api_asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def token(self) -> str:
        """The newest."""
        return f"{BASE}{self.num_tokens - 1}"

    def issue(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        self.tokens_asked.append(asked)
        if self.faults:
            return self.faults.pop(0)
        form = parse_qs(asked.body.decode())
        scheme, _, basic = asked.headers.get("Authorization", "").partition(" ")
        pair = (form.get("client_id", [""])[0], form.get("client_secret", [""])[0])
        if scheme == "Basic":
            user, _, password = base64.b64decode(basic).decode().partition(":")
            pair = unquote_plus(user), unquote_plus(password)
        if pair != (CLIENT, SECRET) or form["grant_type"] != ["client_credentials"]:
            said = f"no such client with {pair[1]}"
            return 401, {"error": "invalid_client", "error_description": said}
        self.num_tokens, self.left = self.num_tokens + 1, self.uses
        answer = {"access_token": self.token, "token_type": "bearer"}
        return 200, answer | ({"expires_in": self.expires_in} if self.expires_in else {})

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        self.api_asked.append(asked)
        given = asked.headers.get("Authorization", "")
        if given != f"Bearer {self.token}" or self.left == 0:
            return 401, {"error": f"{given} is not valid"}
        self.left -= 1
        return 200, self.reply(asked.body) | {"echo": f"you are {given}"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: TokenServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = Asked(path=self.path, headers=dict(self.headers), body=body)
        is_token = self.path.startswith("/token")
        status, document = (self.server.issue if is_token else self.server.answer)(asked)
        answer = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Serve for the duration of a ``with`` block."""
    server = TokenServer()
    with in_thread(server):
        yield server
