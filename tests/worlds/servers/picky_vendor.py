"""A vendor on loopback that answers names, and always the same to a certain image."""

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from audit.bundle.manifest import BundleContents
from worlds.servers.in_thread import in_thread
from worlds.servers.vendor_server import Rule


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the vendor says whatever it should."""

    body: bytes
    status: int = 200
    is_spoiled: bool = True


class PickyVendor(ThreadingHTTPServer):
    """Answers ``{"label": NAME, "labels": [NAME, ...]}`` by rule, but for some questions."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        bundle: BundleContents,
        rule: Rule,
        answers: Mapping[str, Answer],
        from_request: tuple[int, Answer] | None,
        names: tuple[str, ...],
        waits: Literal["usual", "spoiled"] | None,
        together: int,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        arrays = bundle.arrays
        self.names, self.answers, self.from_request = names, answers, from_request
        self.known = {
            image.tobytes(): (f"{kind}/{index}", rule(kind, index, int(label)))
            for kind, images, labels in (
                ("control", arrays.controls, arrays.control_labels),
                ("query", arrays.queries, arrays.source_query_labels),
            )
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        }
        self.class_names = bundle.manifest.task.class_names
        self.waits, self.other_was_sent = waits, threading.Event()
        self.together, self.all_are_there = together, threading.Event()
        self.lock, self.num_requests = threading.Lock(), 0
        self.asked: Counter[str] = Counter()

    def answer_to(self, body: bytes) -> Answer:
        """Return what is said about the images in a request."""
        # Others than the bundle's get the first class.
        known = [self.known.get(_pixels(text), ("other", 0)) for text in json.loads(body)["images"]]
        with self.lock:
            number = self.num_requests
            self.num_requests += 1
            if self.num_requests >= self.together:
                self.all_are_there.set()
            self.asked.update(question for question, _ in known)
        if self.from_request is not None and number >= self.from_request[0]:
            return self.from_request[1]
        named = [self.names[label] for _, label in known]
        usual = Answer(
            body=json.dumps({"label": named[0], "labels": named}).encode(), is_spoiled=False
        )
        spoiled = (self.answers[question] for question, _ in known if question in self.answers)
        return next(spoiled, usual)

    def endpoint_file(self, path: Path, fields: str = "", *, batch_size: int = 1) -> Path:
        """Write the endpoint file; ``fields`` may replace ``class_names``."""
        if "class_names" not in fields:
            fields = f"class_names = {json.dumps(self.class_names)}\n{fields}"
        label = "label" if batch_size == 1 else "labels"
        path.write_text(
            f'format = "generic"\nurl = "http://127.0.0.1:{self.server_address[1]}/"\n{fields}\n'
            f"[request]\nbatch_size = {batch_size}\n"
            'template = { images = ["{{image_base64_png}}"] }\n'
            f'[answer]\nlabel = "{label}"\n',
            encoding="utf-8",
        )
        return path


def _pixels(text: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture).tobytes()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: PickyVendor

    def do_POST(self) -> None:
        answer = self.server.answer_to(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.all_are_there.wait(10)
        waits = self.server.waits == ("spoiled" if answer.is_spoiled else "usual")
        if waits:
            self.server.other_was_sent.wait(10)
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        if not waits:
            self.wfile.flush()
            self.server.other_was_sent.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def picky_vendor(
    bundle: BundleContents,
    rule: Rule,
    answers: Mapping[str, Answer],
    *,
    from_request: tuple[int, Answer] | None = None,
    names: tuple[str, ...] | None = None,
    waits: Literal["usual", "spoiled"] | None = None,
    together: int = 1,
) -> Iterator[PickyVendor]:
    """Serve for the duration of a ``with`` block.

    Args:
        bundle: Whose images are known.
        rule: The class of each.
        answers: What is said instead, by question.
        from_request: What is said to every request from a number on.
        names: What the vendor calls the classes; by default as the bundle does.
        waits: Which answers stay back until one of the others was sent.
        together: Requests that have come before the first is answered.
    """
    server = PickyVendor(
        bundle,
        rule,
        answers,
        from_request,
        names or bundle.manifest.task.class_names,
        waits,
        together,
    )
    with in_thread(server):
        yield server
