"""``kinprint ui --serve`` shows the screen to whoever has its address, and to no other page.

The real server is asked with raw requests, as any program or page on this machine could.
"""

import base64
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from worlds.own_process import kinprint
from worlds.screens.ui_desk import Patience, make_folder


@dataclass(frozen=True, kw_only=True)
class Served:
    """A screen that is being served."""

    port: int
    path: str
    """Of the page, as it was told; it begins and ends with a slash."""
    told: str

    @property
    def host(self) -> str:
        """Of its address."""
        return f"127.0.0.1:{self.port}"

    def get(self, path: str, *headers: str, host: str | None = None) -> tuple[int, str]:
        """Send a request; returns status and all that comes back."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or self.host}", *headers]
        answer = self._exchange([*lines, "Connection: close"])
        return int(answer.split()[1]), answer

    def open_websocket(self, path: str, *headers: str, host: str | None = None) -> tuple[int, str]:
        """Ask for a WebSocket, and wait for the first bytes of a screen if there is one."""
        key = base64.b64encode(b"0123456789abcdef").decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or self.host}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        answer = self._exchange([*lines, *headers], is_screen=True)
        return int(answer.split()[1]), answer

    def _exchange(self, lines: list[str], *, is_screen: bool = False) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            data = b""
            while piece := connection.recv(65536):
                data += piece
                head, _, rest = data.partition(b"\r\n\r\n")
                if is_screen and rest and head.startswith(b"HTTP/1.1 101"):
                    break
                length = re.search(rb"\r\nContent-Length: (\d+)", head)
                if is_screen and length and len(rest) >= int(length[1]):
                    break
            return data.decode("latin-1")


def listening_addresses(port: int) -> set[str]:
    """Return the addresses that something listens on at a port (Linux)."""
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:  # 0A: LISTEN
                packed = bytes.fromhex(address)
                is_v4 = len(packed) == 4
                found.add(socket.inet_ntoa(packed[::-1]) if is_v4 else address)
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = make_folder(tmp_path_factory.mktemp("served"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "kinprint",
            "ui",
            "--serve",
            "--port",
            str(port),
            "--folder",
            folder,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield _once_it_listens(process, port)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _once_it_listens(process: "subprocess.Popen[bytes]", port: int) -> Served:
    assert process.stderr is not None
    told, patience = "", Patience()
    while not (address := re.search(rf"http://127\.0\.0\.1:{port}(/\S*)?", told)):
        # select() itself takes no descriptor above 1,023, and other tests may hold as many.
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            ready = selector.select(timeout=1)
        told += os.read(process.stderr.fileno(), 4096).decode() if ready else ""
        assert not patience.is_over, f"nothing is told but {told!r}"
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return Served(port=port, path=address[1] or "/", told=told)
        except OSError:
            assert not patience.is_over, "nothing is served"


def test_the_page_that_was_told_shows_the_screen(served: Served) -> None:
    status, page = served.get(served.path)
    assert status == 200
    (websocket,) = re.findall(r'data-session-websocket-url="ws://([^/"]+)(/[^"]*)"', page)
    assert websocket == (served.host, f"{served.path}ws")
    status, answer = served.open_websocket(websocket[1], f"Origin: http://{served.host}")
    assert status == 101
    assert len(answer.partition("\r\n\r\n")[2]) > 0
    scripts = re.findall(rf'src="http://{re.escape(served.host)}(/[^"]*)"', page)
    assert len(scripts) == 1
    assert served.get(scripts[0])[0] == 200
    assert "/" not in served.path.strip("/")
    assert len(served.path) >= 32


def test_the_page_fetches_nothing_from_elsewhere(served: Served) -> None:
    _, answer = served.get(served.path)
    assert not re.search(r'\bsrc="https?://(?!127\.0\.0\.1)', answer)
    # The page of textual-serve names a font of a stranger's in a style sheet: no browser gets it.
    (policy,) = re.findall(r"\r\nContent-Security-Policy: ([^\r]+)", answer)
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["style-src"] == "'self' 'unsafe-inline'"
    assert allowed["font-src"] == "'self' data:"


def test_the_page_keeps_its_address_to_itself(served: Served) -> None:
    _, page = served.get(served.path)
    head = page.partition("\r\n\r\n")[0].lower()
    assert "referrer-policy: no-referrer" in head
    assert "cache-control: no-store" in head
    assert "frame-ancestors 'none'" in head


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "null", ""],
)
def test_no_other_page_gets_the_screen(served: Served, origin: str) -> None:
    header = f"Origin: {origin.format(port=served.port)}"
    status, answer = served.open_websocket(f"{served.path}ws", header)
    assert status == 403
    assert "shown to no other page" in answer
    assert served.get(served.path, header)[0] == 403


def test_a_websocket_without_an_origin_is_no_browsers(served: Served) -> None:
    assert served.open_websocket(f"{served.path}ws")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", "10.0.0.7:{port}"]
)
def test_no_other_name_leads_to_the_screen(served: Served, host: str) -> None:
    host = host.format(port=served.port)
    status, answer = served.get(served.path, host=host)
    assert status == 403
    assert f"open it as http://127.0.0.1:{served.port}" in answer
    origin = f"Origin: http://{host}"
    assert served.open_websocket(f"{served.path}ws", origin, host=host)[0] == 403


@pytest.mark.parametrize("token", ["", "0" * 43 + "/", "%C3%BC/", "%00/", "%FF/"])
def test_without_the_token_there_is_no_page_no_screen_and_no_file(
    served: Served, token: str
) -> None:
    origin = f"Origin: http://{served.host}"
    for path in (f"/{token}", f"/{token}static/js/textual.js", f"/{token}nothing"):
        status, answer = served.get(path)
        assert status == 403
        assert served.path.strip("/") not in answer
    assert served.open_websocket(f"/{token}ws", origin)[0] == 403


def test_a_token_that_is_cut_short_or_lengthened_is_none(served: Served) -> None:
    token = served.path.strip("/")
    for wrong in (token[:-1], f"{token}0", token.swapcase(), f" {token}"):
        assert served.get(f"/{wrong.replace(' ', '%20')}/")[0] == 403


def test_files_outside_the_pages_own_are_not_served(served: Served) -> None:
    for name in ("../server.py", "%2e%2e/server.py", "..%2fserver.py", "/etc/passwd", "js", ""):
        status, answer = served.get(f"{served.path}static/{name}")
        assert status == 404
        assert "import" not in answer


def test_a_download_has_a_token_of_its_own(served: Served) -> None:
    assert served.get("/download/0123")[0] == 404
    # ... and is no way round the token of the page.
    for path in ("/download/", "/download/static/js/textual.js"):
        assert served.get(path)[0] == 403
    assert served.open_websocket("/download/ws", f"Origin: http://{served.host}")[0] == 404
    assert served.get("/download/0123", "Origin: http://evil.example")[0] == 403
    assert served.get("/download/0123", host="evil.example")[0] == 403


def test_nothing_of_it_is_for_other_machines(served: Served) -> None:
    assert listening_addresses(served.port) == {"127.0.0.1"}


def test_this_machine_may_be_called_localhost(served: Served) -> None:
    host = f"localhost:{served.port}"
    status, page = served.get(served.path, host=host)
    assert status == 200
    assert f"ws://{host}{served.path}ws" in page
    origin = f"Origin: http://{host}"
    assert served.open_websocket(f"{served.path}ws", origin, host=host)[0] == 101


def test_who_starts_it_is_told_what_the_address_is_worth(served: Served) -> None:
    assert "whoever has this address can audit and read your files" in served.told


def test_a_port_that_is_taken_is_an_error_that_names_the_option(
    served: Served, tmp_path: Path
) -> None:
    done = kinprint("ui", "--serve", "--port", served.port, "--folder", tmp_path)
    assert done.returncode == 2
    assert f"port: cannot listen on {served.port}" in done.stderr
    assert "--port" in done.stderr
    assert "http://" not in done.stderr
