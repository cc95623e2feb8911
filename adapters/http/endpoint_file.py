"""Reads the TOML file that describes an endpoint; every refusal names file, line and field.

The file's ``format`` picks a module of `adapters.wire`, whose ``Description`` says which other
fields there are. Values of ``url``, of ``[headers]`` and of the tables about secrets are never
repeated in an error: somebody may have put a secret there.
"""

import difflib
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

import adapters.wire
from adapters.endpoint.description import ALLOW_PLAIN_HTTP, EndpointDescription
from adapters.suspect import SuspectConfigError

FILL_IN = "FILL_IN"
"""Begins what the writer of a file has left to its user."""
_LEFT = re.compile(rf"{FILL_IN}(?:_(\w+)|:\s*([^\"\\\n]*))?")
MAX_FILE_BYTES = 1 << 20
_NEVER_SHOWN = frozenset({"url", "auth", "aws", "oauth2", "client_certificate", "headers"})
_NAMED_FIELD = re.compile(r"([a-z_.]+): ")
_TRIPLE_QUOTES = ('"""', "'''")
_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*="""
)


def known_formats() -> tuple[str, ...]:
    """Return the names of all wire formats, sorted."""
    modules = pkgutil.iter_modules(adapters.wire.__path__)
    return tuple(sorted(module.name for module in modules))


def read_endpoint_file(path: Path, *, allow_plain_http: bool = False) -> EndpointDescription:
    """Read and check an endpoint file.

    Args:
        path: TOML file.
        allow_plain_http: Let credentials travel to another machine without TLS.

    Returns:
        The description, of the class that belongs to its wire format.

    Raises:
        SuspectConfigError: The file cannot be read or a field is wrong.
    """
    text = _read_text(path)
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SuspectConfigError(f"{path}: expected TOML, got a mistake: {error}") from error
    if left := [*_left_to_fill_in(fields)]:
        lines = [f"{_where(path, line_of(text, keys))}: {told}" for keys, told in left]
        raise SuspectConfigError("\n".join(lines))
    description = _description_of(fields, text, path)
    try:
        return description.model_validate(fields, context={ALLOW_PLAIN_HTTP: allow_plain_http})
    except ValidationError as error:
        messages = [_sentence(detail, description, text, path) for detail in error.errors()]
        raise SuspectConfigError("\n".join(messages)) from None


def _left_to_fill_in(
    value: Any, keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return the fields that still say so, and what goes there."""
    if isinstance(value, str):
        for found in _LEFT.finditer(value):
            told = (found[1] or "").replace("_", " ") or (found[2] or "").strip() or "a value"
            yield keys, f"{'.'.join(keys)}: left to fill in: {told}"
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else ((None, each) for each in value)
        for key, item in items:
            yield from _left_to_fill_in(item, keys if key is None else (*keys, str(key)))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SuspectConfigError(
            f"{path}: expected an endpoint file, got {error.strerror or 'none'}"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise SuspectConfigError(f"{path}: expected an endpoint file, got more than 1 MiB")
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SuspectConfigError(f"{path}: expected UTF-8 text, got other bytes") from error


def unknown_format(name: str) -> str:
    """Say that there is no such wire format, and which there are."""
    known = known_formats()
    return f"format: expected one of {', '.join(known)}, got {name!r}{_hint(name, known)}"


def _description_of(fields: dict[str, Any], text: str, path: Path) -> type[EndpointDescription]:
    """Return the model of the wire format that the file names."""
    name = fields.get("format")
    known = known_formats()
    if name is None:
        raise SuspectConfigError(
            f"{path}: format: expected one of {', '.join(known)}, got nothing; add it"
        )
    if name not in known:
        where = _where(path, line_of(text, ("format",)))
        raise SuspectConfigError(f"{where}: {unknown_format(str(name))}")
    module = importlib.import_module(f"adapters.wire.{name}")
    description: type[EndpointDescription] = module.Description
    return description


def _sentence(detail: ErrorDetails, description: type[BaseModel], text: str, path: Path) -> str:
    """Say one validation error as ``file, line: field: expected X, got Y; what to do``."""
    keys = tuple(str(key) for key in detail["loc"])
    message = detail["msg"]
    if detail["type"] == "value_error":  # ours: "expected ...", or "field: expected ..."
        message = str(detail["ctx"]["error"])
        if named := _NAMED_FIELD.match(message):
            keys, message = (*keys, *named[1].split(".")), message[named.end() :]
    where = _where(path, line_of(text, keys))
    field = ".".join(keys)
    match detail["type"]:
        case "extra_forbidden":
            known = _fields_at(description, keys[:-1])
            advice = _hint(keys[-1], known) or f"; known are {', '.join(known)}"
            return f"{where}: {field}: expected no such field{advice}"
        case "missing":
            return f"{where}: {field}: expected a value, got nothing; add it"
        case "value_error":
            return f"{where}: {field}: {message}"
    if detail["type"] == "model_type":
        message = "a table"
    expected = message.removeprefix("Input should be ").removeprefix("String should ")
    if not set(keys) & _NEVER_SHOWN:
        expected += f", got {detail['input']!r}"
    return f"{where}: {field}: expected {expected}"


def _where(path: Path, line: int | None) -> str:
    return f"{path}, line {line}" if line else str(path)


def _hint(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _fields_at(model: type[BaseModel], keys: Sequence[str]) -> tuple[str, ...]:
    """Return the names that the table at ``keys`` may hold."""
    for key in keys:
        field = model.model_fields.get(key)
        annotation: Any = field.annotation if field else None
        tables = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not tables:
            return ()
        model = tables[0]
    return tuple(model.model_fields)


def line_of(text: str, keys: Sequence[str]) -> int | None:
    r"""Find the line that sets a field, or else the nearest table around it.

    Args:
        text: The TOML file.
        keys: Path to the field, outermost first.

    Returns:
        Line from 1, or None where nothing on the path has a line of its own.

    Example:
        >>> line_of('url = "x"\n[auth]\nenv = "KEY"', ("auth", "env"))
        3
    """
    table: tuple[str, ...] = ()
    quote: str | None = None
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if quote is not None:  # inside a multi-line string
            if quote in line:
                quote = None
            continue
        path: tuple[str, ...] = ()
        if heading := _TABLE.match(line):
            path = table = _split_key(heading[1])
        elif setting := _KEY.match(line):
            path = (*table, *_split_key(setting[1]))
        if path and tuple(keys[: len(path)]) == path and (best is None or len(path) > best[0]):
            best = (len(path), number)
        quote = next((mark for mark in _TRIPLE_QUOTES if line.count(mark) % 2), None)
    return best[1] if best else None


def _split_key(dotted: str) -> tuple[str, ...]:
    parts = re.findall(r"\"[^\"]*\"|'[^']*'|[\w-]+", dotted)
    return tuple(part.strip("\"'") for part in parts)
