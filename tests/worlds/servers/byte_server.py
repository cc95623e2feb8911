"""A server on loopback that answers with given bytes, whatever they are."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase


class ByteServer:
    """Answers each request with the next bytes of a list, one by one or at once."""

    def __init__(self, answers: list[bytes], *, closes: bool, at_once: bool) -> None:
        self.answers, self.closes, self.at_once = answers, closes, at_once
        self.heads: list[bytes] = []
        self.num_connections = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        waiting = list(self.answers)
        while waiting:
            connection, _ = self.listening.accept()
            self.num_connections += 1
            with connection, connection.makefile("rb") as lines:
                while waiting and (head := _head(lines)):
                    self.heads.append(head)
                    length = next(
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length:")
                    )
                    lines.read(length)
                    answer = waiting.pop(0)
                    step = len(answer) if self.at_once else 1
                    with suppress(OSError):  # who has heard enough hangs up
                        for start in range(0, len(answer), step):
                            connection.sendall(answer[start : start + step])
                    if self.closes:
                        break


def _head(lines: BufferedIOBase) -> bytes:
    """Return the head of the next request; nothing at the end of the connection."""
    head = b""
    while (line := lines.readline()) not in (b"", b"\r\n"):
        head += line
    return head


@contextmanager
def byte_server(
    *answers: bytes, closes: bool = False, at_once: bool = False
) -> Iterator[ByteServer]:
    server = ByteServer(list(answers), closes=closes, at_once=at_once)
    try:
        yield server
    finally:
        server.thread.join()
        server.listening.close()
