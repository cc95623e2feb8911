"""Answers that are no JSON: plain text, XML, and JSON that somebody has put into a text.

XML becomes what JSON would be, so that JMESPath finds its way in it: an element is an object of its
attributes and children, by their names without a namespace; of several with one name the list; its
text stands under ``text``. An element with nothing but a text is that text. Documents that declare
entities or a type are refused, since these can blow up or name files.
"""

import re
from collections.abc import Mapping
from email.message import Message
from typing import Any
from xml.etree.ElementTree import ParseError, XMLParser

from adapters.endpoint.wire_format import AskAgainError
from adapters.payload.json_answer import read_json
from adapters.printable import excerpt
from adapters.suspect import SuspectError, SuspectUnreachableError

MAX_DEPTH = 64
"""Of elements within one another."""
TEXT = "text"
_WEB_PAGE = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n?(.*?)\n?\s*```\s*", re.DOTALL)


def read_text(body: bytes, headers: Mapping[str, str]) -> str:
    """Return an answer as text, by its charset or UTF-8, without blanks around it.

    Raises:
        AskAgainError: Empty.
        SuspectUnreachableError: A web page.
        SuspectError: Other bytes than its charset has.
    """
    _refuse_other(body)
    header = Message()
    header["Content-Type"] = headers.get("Content-Type", "")
    charset = header.get_content_charset() or "utf-8"
    try:
        return body.decode(charset).lstrip("\ufeff").strip()
    except (UnicodeDecodeError, LookupError) as error:
        raise SuspectError(
            f"answer: expected text in {excerpt(charset.encode())}, got {excerpt(body)!r}"
        ) from error


def read_xml(body: bytes) -> Any:
    """Return an XML answer as JSON values.

    Raises:
        AskAgainError: Empty, or it breaks off.
        SuspectUnreachableError: A web page.
        SuspectError: No XML, XML with a document type, or more elements within one another than
            any classifier has.

    Example:
        >>> read_xml(b'<r><p label="cat">0.9</p><p label="dog">0.1</p><v>1</v></r>')
        {'r': {'p': [{'label': 'cat', 'text': '0.9'}, {'label': 'dog', 'text': '0.1'}], 'v': '1'}}
    """
    _refuse_other(body)
    target = _Elements()
    # The target of the standard library's own reader: nothing is called for elements behind it.
    parser = XMLParser(target=target)
    try:
        parser.feed(body.strip())
        parser.close()
    except ParseError as error:
        if target.is_open:
            raise AskAgainError(f"XML that breaks off after {len(body)} bytes") from error
        raise SuspectError(f"answer: expected XML, got {excerpt(body)!r}") from error
    except (ValueError, LookupError) as error:
        raise SuspectError(f"answer: expected XML, got {error}") from error
    return target.document


def json_within(text: Any) -> Any:
    """Return the JSON value that a text holds, perhaps between a chat's three backticks.

    Raises:
        SuspectError: It holds none.
    """
    if not isinstance(text, str):
        raise SuspectError("answer.inside: expected a text that holds JSON, got another value")
    fenced = _FENCED.fullmatch(text)
    try:
        return read_json((fenced[1] if fenced else text).encode())
    except (AskAgainError, SuspectError, UnicodeEncodeError) as error:
        found = excerpt(text.encode(errors="replace"))
        raise SuspectError(
            f"answer.inside: expected a text that holds JSON, got {found!r}"
        ) from error


def _refuse_other(body: bytes) -> None:
    if not body.strip():
        raise AskAgainError("an empty body")
    if _WEB_PAGE.match(body.lstrip()):
        raise SuspectUnreachableError(
            f"url: expected an answer of a classifier, got a web page ({excerpt(body)!r}); check "
            "the address, and whether something in between asks for a login"
        )


class _Elements:
    """Builds the values of elements as they end."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []

    @property
    def is_open(self) -> bool:
        """Whether an element has begun and not ended."""
        return bool(self._open)

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse what could declare entities."""
        raise ValueError("a document type, which no answer of a classifier needs")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        if len(self._open) == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} elements within one another")
        named = {_local(name): value for name, value in attributes.items()}
        self._open.append((_local(tag), named, []))

    def data(self, text: str) -> None:
        """Take text of the innermost element."""
        self._open[-1][2].append(text)

    def end(self, tag: str) -> None:
        """Finish the innermost element."""
        name, content, texts = self._open.pop()
        text = "".join(texts).strip()
        value: Any = content if content else text
        if content and text:
            content[TEXT] = text
        parent = self._open[-1][1] if self._open else self.document
        if name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]

    def close(self) -> None:
        """End; all has been said."""


def _local(name: str) -> str:
    return name.rpartition("}")[2]
