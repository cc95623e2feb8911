"""A vendor on loopback that knows a bundle's images and answers as a rule says.

`Vendor` answers ``POST {"images": ["<base64 PNG>", ...]}`` with ``{"labels": [...]}``, always and
rightly. What goes wrong goes wrong on the way: `vendor` puts a `fault_proxy.FaultProxy` before it
where a test wants faults.
"""

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.bundle.manifest import BundleContents
from worlds.servers.fault_proxy import FaultProxy, Faults, fault_proxy
from worlds.servers.in_thread import in_thread

Rule = Callable[[str, int, int], int]
"""Label from kind (``control``, ``query``, ``line-up``), index and the source's label."""

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


OnRequest = Callable[[int, tuple[str, ...]], None]
"""Gets the number of a request, from 0, and its questions, before they are answered."""


class Vendor(ThreadingHTTPServer):
    """Answers by rule; remembers which question was asked how often."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, bundle: BundleContents, rule: Rule, on_request: OnRequest | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        arrays = bundle.arrays
        self.class_names = bundle.manifest.task.class_names
        self.labels: dict[bytes, tuple[str, int]] = {
            image.tobytes(): (f"{kind}/{index}", rule(kind, index, int(label)))
            for kind, images, labels in (
                ("control", arrays.controls, arrays.control_labels),
                ("query", arrays.queries, arrays.source_query_labels),
                *_line_up_images(bundle),
            )
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        }
        self.on_request = on_request
        self.proxy: FaultProxy | None = None
        """What stands before it."""
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.num_answered = 0
        self.requests_text = b""
        """All headers and bodies."""

    @property
    def port(self) -> int:
        """Where it listens itself."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address that clients know."""
        return f"http://127.0.0.1:{self.proxy.port if self.proxy else self.port}/classify"

    @property
    def num_requests(self) -> int:
        """How many were sent to that address."""
        return self.proxy.num_requests if self.proxy else self.num_answered

    def spoil(self, faults: Faults) -> None:
        """Let other faults happen from now on, if there is a proxy at all."""
        assert self.proxy is not None
        self.proxy.faults = faults

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
            number = self.server.num_answered
            self.server.num_answered += 1
            self.server.asked.update(questions)
            self.server.requests_text += bytes(self.headers) + body
        if self.server.on_request is not None:
            self.server.on_request(number, questions)
        answer = json.dumps({"labels": [label for _, label in known]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _line_up_images(
    bundle: BundleContents,
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.int64]]]:
    if bundle.line_up is not None:
        arrays, record = bundle.line_up.arrays, bundle.line_up.record
        yield "line-up", arrays.questions, arrays.member_codes[record.source].argmin(axis=-1)


def _pixels(text: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture).tobytes()


@contextmanager
def vendor(
    bundle: BundleContents,
    rule: Rule,
    faults: Faults | None = None,
    on_request: OnRequest | None = None,
) -> Iterator[Vendor]:
    """Serve for the duration of a ``with`` block, behind a proxy if there are to be faults."""
    server = Vendor(bundle, rule, on_request)
    with in_thread(server), ExitStack() as stack:
        if faults is not None:
            server.proxy = stack.enter_context(fault_proxy(server.port, faults))
        yield server
