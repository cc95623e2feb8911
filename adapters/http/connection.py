"""Connections that send a request in one piece, and read the answer to it whole.

They are urllib3's, which makes them, checks their certificates, leads them through proxies and
keeps them for the next request. What differs is the exchange: http.client sends head and body one
after the other, which are two packets and two times that the server wakes up, and it takes answers
apart in Python, where `adapters.http.answer_reader` has them taken apart in C.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from adapters.endpoint.secrets import QUERY
from adapters.http.answer_reader import WholeAnswer, read_answer

_NO_RETRIES = urllib3.Retry(False, redirect=False)
_CONTROL = re.compile("[\x01-\x08\x0a-\x1f\x7f]")
"""All but NUL, which stands between lines, and the tab."""


CheckPeer = Callable[[str], None]
"""Gets the address of a connection that was just made; raises to end it."""


class _WholeExchange:
    """Mixed into a urllib3 connection, before it."""

    peer_certificate: bytes | None = None

    def __init__(self, *arguments: Any, check_peer: CheckPeer, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._check_peer = check_peer

    def _new_conn(self) -> Any:
        """Connect, and look where that has led before anything is sent, TLS included."""
        parent: Any = super()
        sock = parent._new_conn()
        try:
            self._check_peer(sock.getpeername()[0])
        except BaseException:
            sock.close()
            raise
        return sock

    def request(
        self, method: str, url: str, body: Any = b"", headers: Any = None, **_: Any
    ) -> None:
        """Send a request, and connect before where that was not done.

        Args:
            method: Such as ``POST``.
            url: What the request line names.
            body: Bytes, perhaps none.
            headers: By name, all but ``Content-Length``, ``Host`` included.

        Raises:
            ValueError: A header cannot be sent.
        """
        connection: Any = self
        if connection.sock is not None:
            # A kept connection has what was left of the time for its last answer (`read_answer`).
            connection.sock.settimeout(connection.timeout)
        connection.send(request_head(method, url, headers, len(body)) + body)

    def getresponse(self) -> Any:
        """Read the answer, a `WholeAnswer`; `read_answer` says what it raises."""
        connection: Any = self
        answer: WholeAnswer = read_answer(connection.sock, connection.timeout)
        answer.certificate = self.peer_certificate
        if not answer.keeps_connection:
            connection.close()
        return answer


class _PlainConnection(_WholeExchange, HTTPConnection):
    """A connection without TLS."""


class _TlsConnection(_WholeExchange, HTTPSConnection):
    """A connection that remembers the TLS certificate it was made with."""

    def connect(self) -> None:
        """Connect, and keep what the server showed; it was verified by then."""
        super().connect()
        # An unusual TLS layer, such as one through a TLS proxy, may not tell: no audit fails so.
        sock: Any = self.sock
        with contextlib.suppress(AttributeError, ValueError, OSError):
            self.peer_certificate = sock.getpeercert(binary_form=True)


class _WholeExchanges:
    """Mixed into a urllib3 pool, before it."""

    def exchange(
        self,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: urllib3.Timeout,
    ) -> WholeAnswer:
        """Send a request and read the answer, over a connection that is there or a new one.

        Args:
            method: Such as ``POST``.
            target: What the request line names.
            body: Bytes, perhaps none.
            headers: By name, all but ``Content-Length``, ``Host`` included.
            timeout: To connect, and for the whole answer.

        Raises:
            OSError: The connection broke, or no answer came in time.
            urllib3.exceptions.HTTPError: No connection, or likewise.
            ValueError: A header cannot be sent.
        """
        pool: Any = self
        connection = pool._get_conn()
        if connection.sock is None:  # a new one, which urllib3 knows how to make
            pool._put_conn(connection)
            answer: WholeAnswer = pool.urlopen(
                method,
                target,
                body=body,
                headers=headers,
                timeout=timeout,
                retries=_NO_RETRIES,
                redirect=False,
                assert_same_host=False,
            )
            return answer
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
        except BaseException:
            # Half an exchange is on it: the next request would get this one's answer.
            connection.close()
            raise
        finally:
            pool._put_conn(connection)
        return answer


class _PlainPool(_WholeExchanges, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(_WholeExchanges, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def request_head(method: str, url: str, headers: Mapping[str, str], body_bytes: int) -> bytes:
    r"""Return a request up to its body (RFC 9112, sections 3 and 5).

    Raises:
        ValueError: A line break or another control character would stand in it.

    Example:
        >>> request_head("POST", "/v1", {"Host": "vendor.example"}, 2)
        b'POST /v1 HTTP/1.1\r\nHost: vendor.example\r\nContent-Length: 2\r\n\r\n'
    """
    if QUERY in headers:  # a secret: nobody else has seen the whole address
        query = headers[QUERY]
        url += f"{'&' if '?' in url else '?'}{query}"
        headers = {name: value for name, value in headers.items() if name != QUERY}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    # One search over all lines instead of one for each; a NUL inside of one shows in their number.
    head = "\0".join([f"{method} {url} HTTP/1.1", *lines, f"Content-Length: {body_bytes}"])
    # A line that holds a line break would smuggle in another header, or another request.
    if _CONTROL.search(head) or head.count("\0") != len(lines) + 1:
        raise ValueError("a control character in a header")
    return head.replace("\0", "\r\n").encode("latin-1") + b"\r\n\r\n"


class WholeExchangeAdapter(HTTPAdapter):
    """Requests' adapter over such connections, direct and through proxies.

    Args:
        check_peer: Looks at each direct connection. One to a proxy leads where the user has chosen.
        options: Of requests' adapter.
    """

    def __init__(self, check_peer: CheckPeer, **options: Any) -> None:
        self._check_peer = check_peer
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the direct pools."""
        super().init_poolmanager(*args, **options)
        _use_own_connections(self.poolmanager, self._check_peer)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make a proxy's pools."""
        manager = super().proxy_manager_for(proxy, **options)
        _use_own_connections(manager, _any_peer)
        return manager


def _use_own_connections(manager: Any, check_peer: CheckPeer) -> None:
    manager.pool_classes_by_scheme = {
        "http": partial(_PlainPool, check_peer=check_peer),
        "https": partial(_TlsPool, check_peer=check_peer),
    }


def _any_peer(address: str) -> None:
    """Let a connection be."""
