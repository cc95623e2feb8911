"""A request and its answer for people: nothing secret, nothing longer than it needs to be."""

import re
from collections.abc import Mapping

from adapters.endpoint import masking
from adapters.endpoint.secrets import QUERY
from adapters.http.server_identity import presentable
from adapters.http.suspect import HttpEndpoint
from adapters.payload.open_inference import LENGTH_HEADER, number_of_bytes
from adapters.printable import printable
from audit.endpoint.check import Exchange

MAX_CHARACTERS = 400
"""Of one body."""
_SHOWN_HEADERS = ("content-type", "content-encoding", "retry-after", "ratelimit", "server")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")
_NUMBERS = re.compile(r"((?:-?\d[\d.eE+-]*,){12})(?:-?\d[\d.eE+-]*,?)+")


def request_lines(endpoint: HttpEndpoint, exchange: Exchange) -> list[str]:
    """Return the request: its line, its headers with secrets masked, its body cut."""
    request = exchange.request
    headers = endpoint.shown_headers(request)
    query = headers.pop(QUERY, "")
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return [
        f"{request.method} {endpoint.description.public_url}{'?' if query else ''}{query}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        _shown(endpoint, request.body, kind, headers),
    ]


def answer_lines(endpoint: HttpEndpoint, exchange: Exchange) -> list[str]:
    """Return the answer: its status, the headers that matter, its body cut."""
    raw = exchange.raw
    told = [
        f"{name}: {presentable(endpoint.mask(value))}"
        for name, value in raw.headers.items()
        if name.lower() in _SHOWN_HEADERS
    ]
    kind = raw.headers.get("Content-Type", "")
    return [f"status {raw.status}", *told, "", _shown(endpoint, raw.body, kind, raw.headers)]


def _shown(
    endpoint: HttpEndpoint, body: bytes, content_type: str, headers: Mapping[str, str]
) -> str:
    """Return a body; where numbers follow its JSON as bytes, the JSON and how many bytes."""
    lengths = {name.lower(): value for name, value in headers.items()}
    length = number_of_bytes(lengths.get(LENGTH_HEADER.lower(), ""))
    if length is None or length > len(body):
        return shown_body(endpoint, body, content_type)
    text = shown_body(endpoint, body[:length], content_type)
    return f"{text}<{len(body) - length} bytes>"


def shown_body(endpoint: HttpEndpoint, body: bytes, content_type: str) -> str:
    """Return a body on one line: image files and other bytes only by their size."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        kind = presentable(endpoint.mask(content_type)).partition(";")[0] or "unknown kind"
        return f"<{len(body)} bytes, {kind}>"
    if len(text) > masking.MAX_CHARACTERS:  # nothing of it may be cut in two before it is masked
        text = _BASE64.sub(lambda found: f"<{len(found[0])} characters>", text)
        text = _NUMBERS.sub(lambda found: f"{found[1]}...", text)
    text = " ".join(endpoint.mask(text).split())
    text = _BASE64.sub(lambda found: f"{found[0][:16]}...<{len(found[0])} characters>", text)
    text = _NUMBERS.sub(lambda found: f"{found[1]}...", text)
    text = printable(text)
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}...<{len(body)} bytes in all>"
    return text
