"""A vendor on loopback that knows a bundle's images, and what can go wrong with one.

`Vendor` answers ``POST {"images": ["<base64 PNG>", ...]}`` with ``{"labels": [...]}`` as a rule
says, and hands every request to a function that may spoil the answer.
"""

import base64
import gzip
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from audit.manifest import BundleContents

Rule = Callable[[str, int, int], int]
"""Label from kind (``control``, ``query``), index and the source's label."""

ENDPOINT = """\
format = "generic"
url = "{url}"
class_names = {names}
{fields}
[request]
batch_size = {batch_size}
template = {{ images = ["{{{{image_base64_png}}}}"] }}
[answer]
label = "{label}"
{tables}
"""


@dataclass(frozen=True)
class Spoiled:
    """What happens instead of a plain answer, or besides it."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    """Instead of the right one."""
    delay_s: float = 0.0
    sent_bytes: int | None = None
    """Close the connection after so many bytes of the body; -1 resets it before any."""
    drip_s: float = 0.0
    """Pause between pieces of the body."""
    is_packed: bool = False
    """Send the right answer as gzip."""


Spoil = Callable[[int, tuple[str, ...]], Spoiled | None]
"""From the number of the request, from 0, and its questions; None answers rightly."""


class Vendor(ThreadingHTTPServer):
    """Answers by rule; remembers which question was asked how often."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, bundle: BundleContents, rule: Rule, spoil: Spoil | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        arrays = bundle.arrays
        self.class_names = bundle.manifest.task.class_names
        self.labels: dict[bytes, tuple[str, int]] = {
            image.tobytes(): (f"{kind}/{index}", rule(kind, index, int(label)))
            for kind, images, labels in (
                ("control", arrays.controls, arrays.control_labels),
                ("query", arrays.queries, arrays.source_query_labels),
            )
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        }
        self.spoil = spoil or (lambda number, questions: None)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.num_requests = 0
        self.requests_text = b""
        """All headers and bodies."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/classify"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""

    def endpoint_file(
        self, path: Path, fields: str = "", tables: str = "", *, batch_size: int = 1
    ) -> Path:
        """Write the endpoint file."""
        label = "labels[0]" if batch_size == 1 else "labels"
        text = ENDPOINT.format(
            url=self.url,
            names=json.dumps(list(self.class_names)),
            fields=fields,
            tables=tables,
            batch_size=batch_size,
            label=label,
        )
        path.write_text(text, encoding="utf-8")
        return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Vendor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = [self.server.labels[_pixels(text)] for text in json.loads(body)["images"]]
        questions = tuple(question for question, _ in known)
        with self.server.lock:
            number = self.server.num_requests
            self.server.num_requests += 1
            self.server.asked.update(questions)
            self.server.requests_text += bytes(self.headers) + body
        spoiled = self.server.spoil(number, questions) or Spoiled()
        answer = json.dumps({"labels": [label for _, label in known]}).encode()
        self._send(spoiled, answer if spoiled.body is None else spoiled.body)

    def _send(self, spoiled: Spoiled, body: bytes) -> None:
        time.sleep(spoiled.delay_s)
        if spoiled.sent_bytes == -1:
            self.close_connection = True
            return
        headers = dict(spoiled.headers)
        if spoiled.is_packed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self.send_response(spoiled.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for piece in [body] if not spoiled.drip_s else [body[i : i + 1] for i in range(len(body))]:
            self.wfile.write(piece[: spoiled.sent_bytes])
            self.wfile.flush()
            time.sleep(spoiled.drip_s)
        if spoiled.sent_bytes is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def _pixels(text: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture).tobytes()


@contextmanager
def vendor(bundle: BundleContents, rule: Rule, spoil: Spoil | None = None) -> Iterator[Vendor]:
    """Serve for the duration of a ``with`` block."""
    server = Vendor(bundle, rule, spoil)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


LATER = (("Retry-After", "0"),)
PASSING: dict[str, Spoiled] = {
    "delay": Spoiled(delay_s=0.03),
    "no answer in time": Spoiled(delay_s=0.4),
    "reset": Spoiled(sent_bytes=-1),
    "truncated body": Spoiled(sent_bytes=5),
    "slow body": Spoiled(drip_s=0.1),
    "wrong content type": Spoiled(headers=(("Content-Type", "text/html"),)),
    "gzip": Spoiled(is_packed=True),
    "broken gzip": Spoiled(headers=(("Content-Encoding", "gzip"),)),
    "500": Spoiled(status=500, body=b"oops"),
    "502": Spoiled(status=502, body=b"<html>bad gateway</html>"),
    "503": Spoiled(status=503, body=b"", headers=LATER),
    "429": Spoiled(status=429, body=b'{"error": "slow down"}', headers=LATER),
    "empty body": Spoiled(body=b""),
    "half of a document": Spoiled(body=b'{"labels": [1'),
}
"""After these, asking again brings the answer."""
LASTING: dict[str, Spoiled] = {
    "redirect": Spoiled(status=302, headers=(("Location", "https://elsewhere.example/login"),)),
    "page with status 200": Spoiled(body=b"<html><body>Please log in</body></html>"),
    "error with status 200": Spoiled(body=b'{"error": "quota exceeded"}'),
    "label outside the map": Spoiled(body=b'{"labels": ["unheard of"]}'),
    "class outside the map": Spoiled(body=b'{"labels": [4711]}'),
    "no document": Spoiled(body=b"ok"),
    "wrong request": Spoiled(status=422, body=b'{"detail": "no such field"}'),
    "no credentials": Spoiled(status=401, body=b"who are you"),
}
"""These stop an audit."""


def at_random(rng: random.Random, share: float, kinds: dict[str, Spoiled]) -> Spoil:
    """Spoil a share of the answers in ways drawn at random."""
    names = list(kinds)

    def spoil(number: int, questions: tuple[str, ...]) -> Spoiled | None:
        if rng.random() >= share:
            return None
        return kinds[rng.choice(names)]

    return spoil
