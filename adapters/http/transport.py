"""Sends one request and brings back the bytes of one answer, or says why there are none.

Where to connect, through which proxy and with which certificates comes from requests, without a
`Session`: there are no cookies, no redirects, no credentials from ``.netrc``. Requests then go
through urllib3's pool of connections, and threads share nothing but that. TLS certificates are
always verified. Nothing here puts a header or a query into a message.
"""

import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from adapters.endpoint.client_certificate import ClientCertificateFiles
from adapters.endpoint.grants import NOTHING, Grants, origin_of
from adapters.endpoint.secrets import Credential
from adapters.endpoint.tokens import TokenCredential
from adapters.endpoint.wire_format import AskAgainError, WireRequest
from adapters.http.answer_reader import MAX_ANSWER_BYTES, TOO_LONG, WholeAnswer, too_much
from adapters.http.connection import WholeExchangeAdapter
from adapters.http.peer_address import require_address
from adapters.http.retry_headers import seconds_to_wait
from adapters.printable import excerpt
from adapters.suspect import SuspectConfigError, SuspectUnreachableError

_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
"""Codings that are asked for; an answer in one that is none (``UTF-8``) is taken as it is."""
_NOT_UNPACKED = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz"})
_READABLE = (b"{", b"[", b'"', b"<")
"""How an answer begins that is not compressed, whatever its head says."""
_ZLIB_OR_GZIP, _BARE_DEFLATE = 47, -15
"""What zlib calls the formats; the second one is what some servers take deflate for."""
_MAX_MEMBERS = 64
"""Of a gzip file; each costs some kilobytes, whatever it holds."""
_ASK_AGAIN = frozenset({408, 425, 429})
_THROTTLED = frozenset({429, 503})
_UNAUTHORIZED = 401
_NO_CREDENTIALS = frozenset({401, 403, 407})
_NOT_HERE = frozenset({404, 410})


class Place(Protocol):
    """What is asked; an `EndpointDescription` is one."""

    @property
    def url(self) -> str:
        """Address."""
        ...

    @property
    def timeout_s(self) -> float:
        """Seconds to connect, and again for one whole answer."""
        ...

    @property
    def concurrency(self) -> int:
        """Requests in flight at once."""
        ...

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        ...


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """An answer as it came, whatever its status."""

    url: str
    """That was asked."""
    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes | None
    """The server's, DER; None without TLS, or where it cannot be told."""


@dataclass(frozen=True, kw_only=True)
class _Route:
    """How to reach one address."""

    pool: Any
    """urllib3's, of connections to the host or to the proxy."""
    target: str
    """What the request line names: the path, or the whole address for a proxy."""
    headers: Mapping[str, str]
    """``Host``, and what the proxy wants."""


class HttpTransport:
    """A pool of connections to one endpoint; `send` may be called by several threads."""

    def __init__(
        self,
        place: Place,
        credential: Credential | None,
        ca_bundle: Path | None = None,
        grants: Grants = NOTHING,
        client_certificate: ClientCertificateFiles | None = None,
    ) -> None:
        """Prepare the pool; nothing is sent yet.

        Args:
            place: The endpoint.
            credential: Proves with each request who asks.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
            grants: Where the host may lead, besides the internet.
            client_certificate: By which TLS proves who asks.
        """
        self._timeout_s = place.timeout_s
        self._client_certificate = client_certificate
        # What has to be fetched before a request, and may be refused.
        self._tokens = credential if isinstance(credential, TokenCredential) else None
        self._credential = credential
        self._url, self._origin = place.url, origin_of(place.url)
        host = urlsplit(place.url).hostname or ""
        self._host, self._grants = host, grants
        self._adapter = WholeExchangeAdapter(
            self._check_address, pool_connections=1, pool_maxsize=place.concurrency
        )
        # Proxies and certificate bundles from the usual variables; none for this machine.
        direct = {"no_proxy": host} if place.is_loopback else {}
        with requests.Session() as session:
            settings = session.merge_environment_settings(
                place.url,
                direct,
                stream=True,
                verify=None if ca_bundle is None else str(ca_bundle),
                cert=None,
            )
        self._settings: dict[str, Any] = dict(settings)
        self._routes: dict[str, _Route] = {}
        self._timeout = urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s)

    def ready(self) -> None:
        """Have what proves who asks; tokens are fetched now where that is due.

        Raises:
            AskAgainError: There is none now.
            SuspectError: There is none.
        """
        if self._tokens is not None:
            self._tokens.ready()

    @property
    def must_wait(self) -> bool:
        """Whether `ready` may take its time."""
        return self._tokens is not None

    def settle(self, raw: RawAnswer) -> None:
        """Note what the server made of the token that this thread's request carried.

        Raises:
            AskAgainError: It has expired; the next one may be taken.
        """
        if self._tokens is None:
            return
        if 200 <= raw.status < 300:
            self._tokens.accepted()
        elif raw.status == _UNAUTHORIZED and self._tokens.refused():
            raise AskAgainError(f"status {raw.status}: the token has expired; a new one is fetched")

    def send(self, request: WireRequest) -> RawAnswer:
        """Send one request.

        Returns:
            The answer, whose status nobody has looked at; `refuse` says what others than 2xx mean.

        Raises:
            AskAgainError: No answer, or a broken one.
            SuspectUnreachableError: No certificate that can be verified, or an endless answer, or
                one in a compression that nobody asked for.
            SuspectConfigError: The address cannot be asked.
            NotGrantedError: The host leads to an address that nobody allowed.
        """
        try:
            route = self._route(request.url)
            headers = self._headers(request, route)
            answer: WholeAnswer = route.pool.exchange(
                request.method, route.target, request.body, headers, self._timeout
            )
        except (urllib3.exceptions.SSLError, requests.exceptions.SSLError) as error:
            # First: this error is one of those below, too, but asking again mends no certificate.
            raise SuspectUnreachableError(
                "url: expected a certificate that can be verified, got another one or none; for a "
                "private authority name its file as ca_bundle"
            ) from error
        except urllib3.exceptions.NewConnectionError as error:  # also a TimeoutError by its class
            raise AskAgainError(_why(error)) from error
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise AskAgainError(f"none within {self._timeout_s:g} s") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SuspectConfigError(
                f"url: expected an address that can be asked, got {type(error).__name__}"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise AskAgainError(_why(error)) from error
        return RawAnswer(
            url=request.url,
            status=answer.status,
            headers=answer.headers,
            body=_unpacked(answer.body, answer.headers),
            certificate=answer.certificate,
        )

    def refuse(self, raw: RawAnswer) -> NoReturn:
        """Say what an answer means whose status is not one of success.

        Args:
            raw: The answer, without secrets in its body: the beginning of that is told.

        Raises:
            AskAgainError: The server says "later", or has an error that may pass.
            SuspectUnreachableError: Credentials refused, nothing there, or a redirect.
            SuspectConfigError: The server refuses the request as such.
        """
        if _is_redirect(raw.status):  # another host must not see the credentials or the triggers
            raise SuspectUnreachableError(
                f"url: expected an answer, got a redirect (status {raw.status}) to "
                f"{_target(raw)}; if that is the right place, write it as url"
            )
        said = excerpt(raw.body)
        found = f"status {raw.status} ({said})" if said else f"status {raw.status}"
        if raw.status in _ASK_AGAIN or raw.status >= 500:
            raise AskAgainError(
                found,
                is_throttled=raw.status in _THROTTLED,
                retry_after_s=seconds_to_wait(raw.headers),
            )
        if raw.status in _NO_CREDENTIALS:
            raise SuspectUnreachableError(
                f"auth: expected to be let in, got {found}; check the secret and its header"
            )
        if raw.status in _NOT_HERE:
            raise SuspectUnreachableError(
                f"url: expected an answer, got {found}; check the address"
            )
        raise SuspectConfigError(
            f"request: expected an answer, got {found}; check the fields of the request"
        )

    def look_up(self) -> None:
        """Look up where the host leads, so that it can be said before anything is sent.

        A connection is looked at all the same. What a proxy looks up for itself is its business.

        Raises:
            NotGrantedError: It leads to an address that nobody allowed.
        """
        if self._tokens is not None:
            self._tokens.look_up()
        if requests.utils.select_proxy(self._url, self._settings["proxies"]) is not None:
            return
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return  # the first request tells
        for *_, address in found:
            self._check_address(str(address[0]))

    def close(self) -> None:
        """Close idle connections, and forget tokens."""
        self._adapter.close()
        if self._tokens is not None:
            self._tokens.close()

    def _check_address(self, address: str) -> None:
        require_address(self._host, address, self._grants)

    def _route(self, url: str) -> _Route:
        """Return how to reach an address, found out once."""
        route = self._routes.get(url)
        if route is None:
            verify, proxies = self._settings["verify"], self._settings["proxies"]
            prepared = requests.Request("POST", url).prepare()
            # What is granted is granted for one host, as the requests' own library reads it.
            if origin_of(str(prepared.url)) != self._origin:
                raise SuspectConfigError(
                    f"url: expected requests to {self._origin}, got one to another place; write "
                    "the host as it is"
                )
            pair, files = None, self._client_certificate
            if files is not None:
                pair = (str(files.certificate), str(files.key))
            pool: Any = self._adapter.get_connection_with_tls_context(
                prepared, verify, proxies=proxies, cert=pair
            )
            self._adapter.cert_verify(pool, url, verify, pair)  # type: ignore[no-untyped-call]
            if files is not None:
                pool.key_password = files.passphrase or ""
            target = self._adapter.request_url(prepared, proxies)
            through = requests.utils.select_proxy(str(prepared.url), proxies)
            # Inside a tunnel the proxy sees no headers; the tunnel has its own.
            is_tunnel = url.startswith("https:")
            proved = self._adapter.proxy_headers(through) if through and not is_tunnel else {}
            headers = {"Host": _host(str(prepared.url)), **proved}
            route = self._routes[url] = _Route(pool=pool, target=target, headers=headers)
        return route

    def _headers(self, request: WireRequest, route: _Route) -> Mapping[str, str]:
        said = {name.lower() for name in request.headers}
        ours = {**route.headers, "User-Agent": "kinprint", "Accept-Encoding": "gzip, deflate"}
        headers = {name: value for name, value in ours.items() if name.lower() not in said}
        headers |= request.headers
        if self._credential is None:
            return headers
        # Last, and whatever the case of its name: no header of the endpoint file stands in its
        # place.
        proved = CaseInsensitiveDict(headers)
        proved.update(self._credential.headers_for(request))
        return proved


def _unpacked(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a body as it was before the server compressed it; no bomb gets past the limit."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    if set(map(str.strip, coding.split(","))) & _NOT_UNPACKED and body[:1] not in _READABLE:
        raise SuspectUnreachableError(
            f"url: expected an answer as it is, or in gzip or deflate, got one compressed as "
            f"{coding[:40]!r}, which nobody asked for; look at what stands before the server"
        )
    if coding not in _PACKED or not body:
        return body
    try:
        return _inflated(body, _ZLIB_OR_GZIP)
    except zlib.error:
        try:
            return _inflated(body, _BARE_DEFLATE)
        except zlib.error as error:
            raise AskAgainError("a compressed body that cannot be unpacked") from error


def _inflated(body: bytes, wbits: int) -> bytes:
    pieces: list[bytes] = []
    left = MAX_ANSWER_BYTES
    for _ in range(_MAX_MEMBERS):  # gzip files may follow one another
        stream = zlib.decompressobj(wbits)
        try:
            pieces.append(stream.decompress(body, left + 1))
        except zlib.error:
            if pieces:  # something else may follow, too
                break
            raise
        left -= len(pieces[-1])
        if left < 0:
            raise too_much(TOO_LONG)
        if not stream.eof:
            raise zlib.error("cut short")
        if not (body := stream.unused_data):
            break
    return b"".join(pieces)


def _host(url: str) -> str:
    """Return the ``Host`` of an address, without the port where it is the usual one."""
    place = urlsplit(url)
    host = place.netloc.rpartition("@")[2]
    return host.removesuffix({"http": ":80", "https": ":443"}[place.scheme])


def _is_redirect(status: int) -> bool:
    return 300 <= status < 400


def _target(raw: RawAnswer) -> str:
    """Return where a redirect leads, without user, port and query."""
    try:
        place = urlsplit(urljoin(raw.url, raw.headers.get("Location", "")))
        return f"{place.scheme}://{place.hostname}{place.path}"
    except ValueError:
        return "a place that cannot be read"


def _why(error: BaseException) -> str:
    """Say in words why there is no connection, without the address that foreign errors repeat."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    # Foreign errors hold one another as arguments, reasons and causes, now and then in a circle.
    while queue:
        cause = queue.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            return "no such host"
        if isinstance(cause, OSError) and cause.strerror:
            return f"no connection ({cause.strerror})"
        queue += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
    return "a connection closed before it"
