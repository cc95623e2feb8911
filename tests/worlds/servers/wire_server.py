"""A server on loopback that answers as a vendor documents, and shows every byte it was sent."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from adapters.http.suspect import HttpEndpoint
from worlds.allowed import open_allowed

CLASSES = ["cat", "dog", "horse"]
IMAGES = np.array(
    [[[[0, 51, 102], [153, 204, 255]]], [[[255, 204, 153], [102, 51, 0]]]], dtype=np.uint8
)
"""Two images, one pixel high and two wide."""
# As tensors with scale = 1: axes C, H, W and H, W, C.
CHW = [
    "[[[0.0,153.0]],[[51.0,204.0]],[[102.0,255.0]]]",
    "[[[255.0,102.0]],[[204.0,51.0]],[[153.0,0.0]]]",
]
HWC = ["[[[0.0,51.0,102.0],[153.0,204.0,255.0]]]", "[[[255.0,204.0,153.0],[102.0,51.0,0.0]]]"]

_PNG_TEXT = re.compile(rb"iVBORw0KGgo[A-Za-z0-9+/]+=*")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    """With the query."""
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class WireServer:
    """Answers POST with `body`, and GET with `described`."""

    url: str
    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    described: bytes | None = None
    seen: list[Seen] = field(default_factory=list)
    reply: Callable[[Seen], bytes] | None = None
    """Makes the answer to a POST instead of `body`."""

    def handle(self, request: Request) -> Response:
        seen = Seen(
            method=request.method,
            path=request.full_path.removesuffix("?"),
            headers=dict(request.headers),
            body=request.get_data(),
        )
        self.seen.append(seen)
        if request.method == "GET":
            if self.described is None:
                return Response(b'{"error": "unknown"}', 404)
            return Response(self.described, 200, content_type="application/json")
        body = self.reply(seen) if self.reply else self.body
        # Servers mislabel their answers, or do not label them at all.
        return Response(body, self.status, self.headers, content_type=None)


Ask = Callable[..., tuple[HttpEndpoint, WireServer]]
"""From a format, a path, tables and what is answered to an endpoint and the server behind it."""


def wire_server(httpserver: HTTPServer, **settings: object) -> WireServer:
    """Answer every request to the server."""
    server = WireServer(url=httpserver.url_for(""), **settings)  # type: ignore[arg-type]
    httpserver.expect_request(re.compile(".*")).respond_with_handler(server.handle)
    return server


def opened(folder: Path, text: str, classes: list[str] = CLASSES) -> HttpEndpoint:
    """Open an endpoint file with the three classes, or others, and without retries."""
    path = folder / "endpoint.toml"
    first, _, rest = text.partition("\n")
    path.write_text(f"{first}\nretries = 0\n{rest}", encoding="utf-8")
    return open_allowed(path, bundle_classes=classes)


def without_images(body: bytes, images: NDArray[np.uint8] = IMAGES) -> bytes:
    """Return a body with ``<0>``, ``<1>`` in the place of PNG files in base64, all of which must
    hold exactly the pixels of the images, in order."""
    numbers = iter(range(len(images)))

    def number(found: re.Match[bytes]) -> bytes:
        index = next(numbers)
        assert np.array_equal(pixels(base64.b64decode(found[0])), images[index])
        return b"<%d>" % index

    return _PNG_TEXT.sub(number, body)


def pixels(file: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


@contextmanager
def asking(folder: Path, httpserver: HTTPServer) -> Iterator[Ask]:
    """Ask for the duration of a ``with`` block, with an endpoint file in the folder."""
    endpoints: list[HttpEndpoint] = []

    def start(
        name: str, path: str, tables: str, **settings: Any
    ) -> tuple[HttpEndpoint, WireServer]:
        server = wire_server(httpserver, **settings)
        text = f'format = "{name}"\nurl = "{server.url}{path}"\n{tables}\n'
        endpoints.append(opened(folder, text))
        return endpoints[-1], server

    yield start
    for endpoint in endpoints:
        endpoint.close()
