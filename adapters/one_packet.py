"""Connections that send a request in one piece.

Python's http.client sends headers and body one after the other: two system calls, two packets, and
two times that the server wakes up. Requests here are small, so that this costs more than copying.
"""

from typing import Any

from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection


class OnePacket:
    """Mixed into a urllib3 connection, before it."""

    _pieces: list[bytes] | None = None

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, see `urllib3.connection.HTTPConnection.request`."""
        self._pieces = []
        try:
            super().request(*args, **options)  # type: ignore[misc]
            pieces, self._pieces = self._pieces, None
            self.send(b"".join(pieces))
        finally:
            self._pieces = None

    def send(self, data: Any) -> None:
        """Send bytes, or keep them until the request is whole."""
        if self._pieces is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
        else:
            self._pieces.append(data)


class OnePacketConnection(OnePacket, HTTPConnection):
    """A connection without TLS."""


class OnePacketPool(HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = OnePacketConnection
