"""A request that somebody has made or described, on its way to become an endpoint file.

Whoever reads a curl command or an API's description makes a `KnownRequest`; here it becomes the
text of the file. What nobody can know stands in it as ``FILL_IN``, which every command names. No
secret is in it: only the variable that is to hold it.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from adapters.endpoint.description import SECRET_WORD
from adapters.endpoint.written_secrets import is_secret_field
from adapters.http.endpoint_file import FILL_IN
from adapters.printable import printable, toml_string
from audit.endpoint.template import class_lines

IMAGE = "{{image_base64_png}}"
ARRAY = "{{image_array}}"
WHERE_THE_IMAGE_GOES = f"{FILL_IN}: write {{{{image_base64_png}}}} where the image goes"
CLASS_IN_THE_ANSWER = (
    f"{FILL_IN}: the JMESPath of the class in the answer, as in predictions[0].label"
)
_IMAGE_BEGINS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,", re.IGNORECASE)
_ABOUT_BASE64 = re.compile(
    r"^\s*(?:\$\(.*base64.*\)|`.*base64.*`|[<{\[]*\s*\w*(?:base64|b64)\w*[^\s]*\s*[>}\]]*)\s*$",
    re.IGNORECASE | re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?$")
MIN_NUMBERS = 48
"""Of nested lists that are taken for an image: 4 x 4 pixels in colour."""


@dataclass(frozen=True, kw_only=True)
class KnownAuth:
    """How the secret travels, and which variable is to hold it."""

    env: str
    header: str | None = None
    scheme: str = ""
    query: str | None = None
    cookie: str | None = None


@dataclass(frozen=True, kw_only=True)
class KnownBody:
    """How the image travels; the body is the image file itself where nothing is said."""

    template: Any = None
    """JSON with its placeholder."""
    tensor: Mapping[str, Any] = field(default_factory=dict)
    """What is known of ``[request.tensor]``."""
    multipart: str | None = None
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class KnownRequest:
    """What goes into the endpoint file, besides classes and answer."""

    made_from: str
    """In words that follow "made from"."""
    url: str
    method: str = "POST"
    auth: KnownAuth | None = None
    oauth2: Mapping[str, str] = field(default_factory=dict)
    """The table, where tokens are got by client credentials."""
    client_certificate: Mapping[str, str] = field(default_factory=dict)
    """The table, where TLS proves who asks."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: KnownBody = KnownBody()
    answer: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    """For the user, each a sentence."""


def endpoint_text(request: KnownRequest, class_names: Sequence[str] | None) -> str:
    """Return the text of the endpoint file.

    Args:
        request: What is known.
        class_names: The bundle's classes, where a bundle is at hand.
    """
    chat = _chat(request)
    lines = [
        f"# Made from {request.made_from}; docs/endpoints.md says more.",
        "# Try it with: kinprint endpoint check THIS_FILE --bundle BUNDLE",
        *(f"# {printable(note)}" for note in request.notes),
        "",
        f'format = "{chat or "generic"}"',
        f"url = {toml_string(request.url)}",
    ]
    if request.method != "POST" and chat is None:
        lines.append(f"method = {toml_string(request.method)}")
    lines += ["", *class_lines(class_names)]
    if request.auth is not None:
        lines += ["", "[auth]", *_auth_lines(request.auth)]
    if request.oauth2:
        lines += ["", "[oauth2]", *_pairs(request.oauth2)]
    if request.client_certificate:
        lines += ["", "[client_certificate]", *_pairs(request.client_certificate)]
    if request.headers:
        lines += ["", "[headers]", *_pairs(request.headers)]
    if chat is not None:
        return "\n".join([*lines, "", *_chat_lines(request.body.template)]) + "\n"
    lines += ["", *_body_lines(request.body)]
    answer = request.answer or {"label": CLASS_IN_THE_ANSWER}
    lines += ["", "[answer]", *_pairs(answer)]
    return "\n".join(lines) + "\n"


def json_body(example: Any) -> KnownBody:
    """Put the placeholder where a JSON body holds an image, and ``FILL_IN`` for its secrets.

    ``FILL_IN`` stands in the template, too, where no image is found or several are.

    Args:
        example: JSON value.
    """
    found: list[str] = []
    tensor: dict[str, Any] = {}

    def seen(value: Any, key: str = "") -> Any:
        match value:
            case dict():
                return {name: seen(item, name) for name, item in value.items()}
            case list():
                shape = _shape(value)
                if len(shape) >= 3 and math.prod(shape) >= MIN_NUMBERS:
                    found.append(ARRAY)
                    tensor["layout"] = "NHWC" if shape[-1] in (1, 3) else "NCHW"
                    return [ARRAY] if len(shape) == 4 else ARRAY
                return [seen(item, key) for item in value]
            case str():
                return text(value, key)
        return value

    def text(value: str, key: str) -> str:
        prefix = _DATA_URL.match(value)
        if prefix or is_image_text(value):
            found.append(IMAGE)
            return f"data:image/png;base64,{IMAGE}" if prefix else IMAGE
        return secret_left(key) if is_secret_field(key) and value else value

    template = seen(example)
    if len(found) != 1:
        rest = template if isinstance(template, dict) else {"": template}
        template = {"image": WHERE_THE_IMAGE_GOES, **rest}
    return KnownBody(template=template, tensor=tensor)


def secret_left(name: str) -> str:
    """Return what stands in the place of a secret in a body."""
    return f"{FILL_IN}: the secret {name}; it has no place but this file, so keep it private"


def is_image_text(value: str) -> bool:
    """Return whether a text is an image file in base64, or stands for one in an example."""
    if _ABOUT_BASE64.match(value) and value.strip().lower() not in ("base64", "b64"):
        return True
    head = value.strip()[:64]
    try:
        return base64.b64decode(head[: len(head) // 4 * 4]).startswith(_IMAGE_BEGINS) and (
            len(head) >= 8
        )
    except (binascii.Error, ValueError):
        return False


def variable_for(url: str, value: str = "") -> str:
    """Return the variable that is to hold the secret: the one that the example names, or a new one.

    Example:
        >>> variable_for("https://api.vendor.example/v1"), variable_for("http://x/", "$KEY")
        ('VENDOR_KEY', 'KEY')
    """
    if named := _VARIABLE.match(value):
        return named[1]
    labels = (urlsplit(url).hostname or "").split(".")
    name = labels[-2] if len(labels) > 1 and not labels[-1].isdigit() else "endpoint"
    return f"{re.sub(r'[^A-Z0-9]', '_', name.upper())}_KEY".lstrip("_0123456789") or "ENDPOINT_KEY"


def without_secret_query(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Return an address without the fields of its query that are secret, and these."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    secret = [(name, value) for name, value in pairs if SECRET_WORD.search(name.lower())]
    if not secret:
        return urlunsplit((*parts[:4], "")), []
    kept = urlencode([pair for pair in pairs if pair not in secret])
    return urlunsplit((*parts[:3], kept, "")), secret


def _body_lines(body: KnownBody) -> list[str]:
    lines = ["[request]"]
    if body.template is not None:
        lines.append(f"template = {_template_text(body.template)}")
    elif body.multipart is not None:
        lines.append(f"multipart = {toml_string(body.multipart)}")
        lines += ["", "[request.form]", *_pairs(body.form)] if body.form else []
    else:
        lines.append("raw = true")
    return [*lines, *(["", "[request.tensor]", *_pairs(body.tensor)] if body.tensor else [])]


def _auth_lines(auth: KnownAuth) -> list[str]:
    named = {"header": auth.header, "query": auth.query, "cookie": auth.cookie}
    if auth.header == "Authorization":
        del named["header"]
    told = {name: value for name, value in {**named, "scheme": auth.scheme}.items() if value}
    comment = "# the variable that holds the secret, not the secret"
    return [*_pairs(told), f"env = {toml_string(auth.env):<24} {comment}"]


def _chat(request: KnownRequest) -> str | None:
    body = request.body.template
    if not isinstance(body, dict) or not {"model", "messages"} <= set(body):
        return None
    return "ollama" if urlsplit(request.url).path.endswith("/api/chat") else "chat_completions"


def _chat_lines(body: Mapping[str, Any]) -> list[str]:
    ours = {"model", "messages", "stream", "temperature", "image"}
    extra = {name: value for name, value in body.items() if name not in ours}
    lines = ["[request]", f"model = {toml_string(str(body['model']))}"]
    lines.append(
        "# prompt = the question, with {{classes}} in it; docs/endpoints.md has the usual one"
    )
    return [*lines, *(["", "[request.extra]", *_pairs(extra)] if extra else [])]


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in values.items()]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_string(name)


def _value(value: Any) -> str:
    """Return a JSON value as TOML; null, which TOML has not, is left to the user."""
    match value:
        case bool() | int() | float():
            return json.dumps(value)
        case str():
            return toml_string(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{ {', '.join(_pairs(value))} }}" if value else "{}"
    return toml_string(f"{FILL_IN}: a value instead of null")


def _template_text(template: Any) -> str:
    """Return JSON as a TOML text over several lines, where that says the same."""
    text = json.dumps(template, indent=2, ensure_ascii=False)
    if "'''" in text or not text.replace("\n", "").isprintable():
        return toml_string(json.dumps(template))
    return f"'''\n{text}'''"


def _shape(value: Any) -> tuple[int, ...]:
    """Return the lengths of nested lists of numbers; nothing where they are not that."""
    if type(value) in (int, float):
        return ()
    if not isinstance(value, list) or not value:
        return (0,) * 9
    inner = _shape(value[0])
    return (len(value), *inner) if 0 not in inner else inner
