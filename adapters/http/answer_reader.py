"""An HTTP/1 answer read whole, head and body, bounded in bytes, in headers and in time.

Framing is llhttp's (through httptools), in C: with Python's http.client, taking an answer apart is
the largest part of what a request costs the audit. Answers of a classifier are small, so that
nothing is gained by reading them bit by bit. What llhttp refuses and others read is read once more
by `lenient_answer`.
"""

import time
from dataclasses import dataclass
from http.client import RemoteDisconnected
from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3 import HTTPHeaderDict

from adapters.endpoint.wire_format import AskAgainError
from adapters.http.lenient_answer import LenientAnswer, NotHttpError
from adapters.suspect import SuspectUnreachableError

MAX_ANSWER_BYTES = 16 << 20
"""Of all of an answer, and of its body as it was before it was compressed."""
TOO_LONG = f"{MAX_ANSWER_BYTES >> 20} MiB"
MAX_HEAD_BYTES = 1 << 16
"""Of status line and headers, all answers of status 1xx included; servers send some hundred."""
MAX_HEADERS = 256
"""Of all heads together, and of what follows a body in chunks."""
MAX_FRAMING_BYTES = 1 << 20
"""Of all but the body: how long chunks are, their extensions, what follows the last one."""

_CHUNK_BYTES = 1 << 16


def too_much(what: str) -> SuspectUnreachableError:
    """Return the error for what is more than any answer of a classifier; it is not asked again."""
    return SuspectUnreachableError(
        f"url: expected an answer of a classifier, got more than {what}; check the address"
    )


class Socket(Protocol):
    """What is needed of a socket, with TLS or without."""

    def settimeout(self, value: float | None, /) -> None:
        """Limit the next call, in seconds."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Return what is there, at least a byte; nothing at the end."""
        ...


@dataclass(kw_only=True)
class WholeAnswer:
    """An answer as it came; the first three fields and some attributes are what urllib3 wants."""

    status: int
    headers: HTTPHeaderDict
    version_string: str
    body: bytes
    """Perhaps compressed; nothing of a redirect's."""
    keeps_connection: bool
    """Whether another request may follow on the same connection."""
    certificate: bytes | None = None
    """The server's, DER; None without TLS, or where it cannot be told."""
    length_remaining: int = 0


def read_answer(sock: Socket, timeout_s: float) -> WholeAnswer:
    """Read the answer to a request that was just sent.

    Args:
        sock: Where from.
        timeout_s: For all of it.

    Raises:
        TimeoutError: Its head did not come in time.
        OSError: The connection broke, or was closed, before the head was whole.
        AskAgainError: The body broke off or did not come in time.
        SuspectUnreachableError: This is not HTTP, is longer than any answer of a classifier, or has
            more headers.
    """
    deadline, message = time.monotonic() + timeout_s, _Message()
    while not message.is_whole:
        try:
            # 0 would mean not to wait at all, and less than that is an error of its own.
            sock.settimeout(max(deadline - time.monotonic(), 1e-3))
            data = sock.recv(_CHUNK_BYTES)
        except TimeoutError as error:
            if message.status:
                raise AskAgainError(f"no whole one within {timeout_s:g} s") from error
            raise
        except OSError as error:
            if message.status:
                raise AskAgainError(message.cut_short) from error
            raise
        if not data:
            message.end()
            break
        message.feed(data)
    return message.answer()


class _Message:
    """What llhttp tells about one answer; those of status 1xx before it are skipped."""

    def __init__(self) -> None:
        self.status, self.is_whole = 0, False
        self._headers = HTTPHeaderDict()
        self._pieces: list[bytes] = []
        self._version, self._keeps_connection = "", False
        self._num_bytes = self._num_body_bytes = self._num_headers = 0
        self._received: list[bytes] = []
        self._lenient: LenientAnswer | None = None
        self._parser = HttpResponseParser(self)
        # Some servers end lines with LF alone, which http.client and browsers take, too.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    @property
    def cut_short(self) -> str:
        """Say how much came, in words that fit after ``expected an answer, got``."""
        return f"a body cut short after {self._num_body_bytes} bytes"

    @property
    def _is_redirect(self) -> bool:
        """Whether what follows the head may be anybody's, and is not read."""
        return 300 <= self.status < 400

    def feed(self, data: bytes) -> None:
        """Take what has come; that the parser may be beyond a limit by so much does no harm."""
        self._num_bytes += len(data)
        self._received.append(data)
        if self._lenient is not None:
            self._feed_lenient(data)
        else:
            try:
                self._parser.feed_data(data)
            except (HttpParserError, HttpParserUpgrade):
                # Whatever follows the answer, nobody has asked for it.
                self._keeps_connection = False
                if not self.is_whole:
                    self._read_leniently()
        self._check_limits()

    def _read_leniently(self) -> None:
        """Begin anew with a reader that takes more."""
        self._check_limits()
        self._lenient = LenientAnswer()
        self._feed_lenient(b"".join(self._received))

    def _feed_lenient(self, data: bytes) -> None:
        assert self._lenient is not None
        try:
            self._lenient.feed(data)
        except NotHttpError as error:
            raise SuspectUnreachableError(
                f"url: expected an answer, got something that is not HTTP: {error}; check the "
                "address, or what stands before the server"
            ) from error
        self._take_over(self._lenient)

    def _take_over(self, lenient: LenientAnswer) -> None:
        self.status, self._headers = lenient.status, lenient.headers
        self._version, self._keeps_connection = lenient.version, False
        self._pieces, self._num_body_bytes = [lenient.body], lenient.num_body_bytes
        self._num_headers = lenient.num_headers
        self.is_whole = lenient.is_whole or (bool(self.status) and self._is_redirect)

    def _check_limits(self) -> None:
        framing_bytes = self._num_bytes - self._num_body_bytes
        if self._num_headers > MAX_HEADERS:
            raise too_much(f"{MAX_HEADERS} headers")
        if not self.status and framing_bytes > MAX_HEAD_BYTES:
            raise too_much(f"{MAX_HEAD_BYTES >> 10} KiB of headers")
        if framing_bytes > MAX_FRAMING_BYTES:
            raise too_much(f"{MAX_FRAMING_BYTES >> 10} KiB around its body")
        if self._num_bytes > MAX_ANSWER_BYTES:
            raise too_much(TOO_LONG)

    def end(self) -> None:
        """Note that nothing more comes, which is the end of a body of unknown length."""
        if not self.status:
            raise RemoteDisconnected("closed before an answer")
        # Only a body without a length ends with its connection (RFC 9112, section 6.3).
        is_chunked = "chunked" in self._headers.get("Transfer-Encoding", "").lower()
        if not is_chunked and "Content-Length" not in self._headers:
            self.is_whole = True
            return
        if self._lenient is None:
            self._read_leniently()
        assert self._lenient is not None
        self._lenient.end()
        if not self._lenient.is_whole:
            raise AskAgainError(self.cut_short)
        self._take_over(self._lenient)

    def answer(self) -> WholeAnswer:
        """Return the answer."""
        return WholeAnswer(
            status=self.status,
            headers=self._headers,
            version_string=f"HTTP/{self._version}",
            body=b"" if self._is_redirect else b"".join(self._pieces),
            keeps_connection=self._keeps_connection,
        )

    def on_message_begin(self) -> None:
        """Begin; llhttp would go on with another answer after this one."""
        if self.is_whole:
            raise ValueError("more than one answer")

    def on_body(self, piece: bytes) -> None:
        """Note a piece of the body."""
        self._pieces.append(piece)
        self._num_body_bytes += len(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; what follows the body in chunks says nothing about the answer."""
        self._num_headers += 1
        if not self.status and self._num_headers <= MAX_HEADERS:
            self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Note how the answer goes on."""
        status = self._parser.get_status_code()
        # Such a head only says that the answer is still to come.
        if status < 200:
            self._headers.clear()
            return
        self.status, self._version = status, self._parser.get_http_version()
        self._keeps_connection = self._parser.should_keep_alive()
        # Nobody follows it, so nobody waits for its body; what comes of that goes with the
        # connection.
        if self._is_redirect:
            self.is_whole, self._keeps_connection = True, False

    def on_message_complete(self) -> None:
        """Note the end."""
        if self.status:
            self.is_whole = True
