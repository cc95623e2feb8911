"""Vision models on loopback that answer in sentences, as OpenAI's chat completions and Ollama do.

Behind them is a small classifier: the nearest of a bundle's own images, by the sum of differences.
"""

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.bundle.manifest import BundleContents
from worlds.servers.in_thread import in_thread

Says = Callable[[str, int], str]
"""Sentence from the name of the class and the number of the question, from 0."""


def sentence(name: str, number: int) -> str:
    """Return what a model says about a class, each time a little differently."""
    return (f"This is a {name}.", f" {name.title()}\n", f"**{name.upper()}**", name)[number % 4]


class ChatServer(ThreadingHTTPServer):
    """Answers ``POST /v1/chat/completions`` and ``POST /api/chat``; keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, bundle: BundleContents, says: Says) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        arrays = bundle.arrays
        self.images = np.concatenate([arrays.controls, arrays.queries]).astype(np.int64)
        self.labels = np.concatenate([arrays.control_labels, arrays.source_query_labels])
        self.names, self.says = bundle.manifest.task.class_names, says
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def name_of(self, image: NDArray[np.uint8]) -> str:
        """Return the class of the nearest image that is known."""
        if image.shape[0] != self.images.shape[1]:  # enlarged to twice the size
            image = image[::2, ::2]
        image = image.reshape(self.images.shape[1:])
        distances = np.abs(self.images - image).sum(axis=(1, 2, 3))
        return self.names[int(self.labels[distances.argmin()])]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: ChatServer

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (message,) = document["messages"]
        is_ollama = self.path == "/api/chat"
        text = message["images"][0] if is_ollama else message["content"][1]["image_url"]["url"]
        with Image.open(io.BytesIO(base64.b64decode(text.rpartition(",")[2]))) as picture:
            name = self.server.name_of(np.asarray(picture))
        words = self.server.says(name, len(self.server.asked))
        self.server.asked.append(document)
        said = {"role": "assistant", "content": words}
        answer: dict[str, Any] = {"model": document["model"], "message": said, "done": True}
        if not is_ollama:
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            answer = {
                "object": "chat.completion",
                "model": document["model"],
                "system_fingerprint": "fp_1",
                "choices": [choice],
            }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def chat_server(bundle: BundleContents, says: Says = sentence) -> Iterator[ChatServer]:
    """Serve for the duration of a ``with`` block."""
    server = ChatServer(bundle, says)
    with in_thread(server):
        yield server
