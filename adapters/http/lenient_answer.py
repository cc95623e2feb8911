"""An HTTP/1 answer that llhttp refuses and others read: blanks, folded lines, repeated lengths.

Python's own client, curl and browsers take what old servers and proxies write: a blank before a
colon, a control character in a cookie, a length twice, a line that is no header. So does this, and
where two readings are possible it says which byte is wrong. It is slow and asked only after llhttp
has given up; a connection that spoke so is not used again, since nobody else may agree where its
answer ends.

Source: RFC 9112, sections 2.2, 4, 5.1, 5.2, 6.3 and 7.1.
"""

import re

from urllib3 import HTTPHeaderDict

MAX_LINE_BYTES = 1 << 16
_STATUS_LINE = re.compile(rb"HTTP/([01])\.\d +(\d{3})(?: .*)?$")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})\s*(?:;.*)?$")
_LENGTH = re.compile(r"\+?(\d{1,15})$")


class NotHttpError(Exception):
    """The bytes have no reading; the message says where, in words that fit after ``got``."""


class LenientAnswer:
    """One answer, fed piece by piece; answers of status 1xx before it are skipped."""

    def __init__(self) -> None:
        self._data, self._place = b"", 0
        self._line_number = 0
        self._chunk_left: int | None = None
        self._is_chunked = self._is_in_trailer = False
        self._length: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.status, self.is_whole = 0, False
        self.version = "1.1"
        self.headers = HTTPHeaderDict()
        self.num_headers = self.num_body_bytes = 0

    @property
    def body(self) -> bytes:
        """Return what has come of the body."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            NotHttpError: It cannot be read.
        """
        self._data += data
        while not self.is_whole and self._step():
            pass

    def end(self) -> None:
        """Note that nothing more comes; a body without a length is whole then."""
        # What follows the last chunk says nothing of the answer, and some servers leave it out.
        if self.status and (self._is_in_trailer or not (self._is_chunked or self._length)):
            self.is_whole = True

    def _step(self) -> bool:
        """Read the next line or piece of the body; return whether there was one."""
        if self.status and not self._is_chunked:
            return self._read_body()
        if self._chunk_left:
            return self._read_chunk()
        line = self._line()
        if line is None:
            return False
        if self.status:
            self._read_chunk_line(line)
        elif not self._line_number:
            self._read_status_line(line)
        else:
            self._read_header_line(line)
        return True

    def _line(self) -> bytes | None:
        end = self._data.find(b"\n")
        if max(end, len(self._data) if end < 0 else 0) > MAX_LINE_BYTES:
            raise NotHttpError(f"a line of more than {MAX_LINE_BYTES >> 10} KiB")
        if end < 0:
            return None
        line, self._data = self._data[:end], self._data[end + 1 :]
        self._place += end + 1
        return line.removesuffix(b"\r")

    def _read_status_line(self, line: bytes) -> None:
        if not line:  # left over from before
            return
        found = _STATUS_LINE.match(line)
        if found is None:
            raise NotHttpError(f"{_quoted(line)} as its first line, where HTTP/1.1 and a status go")
        self.version = "1.0" if line.startswith(b"HTTP/1.0") else "1.1"
        self._line_number = 1
        self._status = int(found[2])
        self._headers.clear()

    def _read_header_line(self, line: bytes) -> None:
        self._line_number += 1
        if line[:1] in (b" ", b"\t"):
            if line.strip() and self._headers:
                name, value = self._headers[-1]
                self._headers[-1] = name, value + b" " + line.strip()
            if line.strip():
                return
        if line.strip():
            name, colon, value = line.partition(b":")
            self.num_headers += 1
            if colon and _NAME.match(name.strip()):
                self._headers.append((name.strip(), value.strip()))
            return
        if self._status < 200:  # the answer is still to come
            self._line_number = 0
            return
        self._finish_head()

    def _finish_head(self) -> None:
        codings: list[str] = []
        lengths: dict[str, int] = {}
        for name, value in self._headers:
            text = _CONTROL.sub(b"", value).decode("latin-1").strip()
            match name.lower():
                case b"transfer-encoding":
                    codings += [part.strip().lower() for part in text.split(",")]
                case b"content-length":
                    for part in filter(None, (part.strip() for part in text.split(","))):
                        number = _LENGTH.match(part)
                        if number is None:
                            raise NotHttpError(f"Content-Length: {part[:40]!r}, which is no number")
                        lengths[number[1]] = int(number[1])
                case _:
                    self.headers.add(name.decode("latin-1"), text)
        self._is_chunked = "chunked" in codings
        if self._is_chunked:
            # Chunks count before a length (RFC 9112, 6.3).
            self.headers.add("Transfer-Encoding", "chunked")
        elif len(set(lengths.values())) > 1:
            told = " and ".join(map(str, lengths.values()))
            raise NotHttpError(f"a head with two lengths, {told}")
        elif lengths:
            self._length = next(iter(lengths.values()))
            self.headers.add("Content-Length", str(self._length))
        self.status = self._status
        if self._length == 0 or self.status in (204, 304):
            self.is_whole = True

    def _read_body(self) -> bool:
        piece = self._data if self._length is None else self._data[: self._length - self._taken]
        self._take(piece)
        self.is_whole = self._length is not None and self._taken == self._length
        return False

    def _read_chunk(self) -> bool:
        assert self._chunk_left is not None, "asked only within a chunk"
        piece = self._data[: self._chunk_left]
        self._take(piece)
        self._chunk_left -= len(piece)
        return bool(piece)

    def _read_chunk_line(self, line: bytes) -> None:
        if self._is_in_trailer:
            self.num_headers += bool(line)
            self.is_whole = not line
            return
        if self._chunk_left == 0 and not line:  # behind the chunk before
            self._chunk_left = None
            return
        found = _CHUNK.match(line.strip())
        if found is None:
            where = self._place - len(line) - 2
            raise NotHttpError(f"{_quoted(line)} at byte {where}, where a chunk's length goes")
        self._chunk_left = int(found[1], 16)
        self._is_in_trailer = self._chunk_left == 0

    @property
    def _taken(self) -> int:
        return self.num_body_bytes

    def _take(self, piece: bytes) -> None:
        self._data = self._data[len(piece) :]
        self._place += len(piece)
        self.num_body_bytes += len(piece)
        if piece:
            self._body.append(piece)


def _quoted(line: bytes) -> str:
    shown = line[:40].decode("latin-1")
    return f"{shown!r}{'...' if len(line) > 40 else ''}"
