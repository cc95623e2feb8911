"""Sends one request and brings back the bytes of one answer, or says why there are none.

Where to connect, through which proxy and with which certificates comes from requests, without a
`Session`: there are no cookies, no redirects, no credentials from ``.netrc``. Requests then go
through urllib3's pool of connections, and threads share nothing but that. TLS certificates are
always verified. Nothing here puts a header or a query into a message.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from adapters.endpoint_description import EndpointDescription
from adapters.json_answer import excerpt
from adapters.peer_certificate import RememberingAdapter, peer_certificate
from adapters.secrets import Credential
from adapters.server_pace import seconds_to_wait
from adapters.suspect import SuspectConfigError, SuspectUnreachableError
from adapters.wire.protocol import AskAgainError, WireRequest

MAX_ANSWER_BYTES = 16 << 20
"""More is no answer of a classifier."""

_CHUNK_BYTES = 1 << 16
_ASK_AGAIN = frozenset({408, 425, 429})
_THROTTLED = frozenset({429, 503})
_NO_CREDENTIALS = frozenset({401, 403, 407})
_NOT_HERE = frozenset({404, 410})


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
    """For the proxy."""


class HttpTransport:
    """A pool of connections to one endpoint; `send` may be called by several threads."""

    def __init__(
        self,
        description: EndpointDescription,
        credential: Credential | None,
        ca_bundle: Path | None = None,
    ) -> None:
        """Prepare the pool; nothing is sent yet.

        Args:
            description: The endpoint.
            credential: Proves with each request who asks.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
        """
        self._timeout_s = description.timeout_s
        self._credential = credential
        self._adapter = RememberingAdapter(pool_connections=1, pool_maxsize=description.concurrency)
        host = urlsplit(description.url).hostname or ""
        # Proxies and certificate bundles from the usual variables; none for this machine.
        direct = {"no_proxy": host} if description.is_loopback else {}
        with requests.Session() as session:
            settings = session.merge_environment_settings(
                description.url,
                direct,
                stream=True,
                verify=None if ca_bundle is None else str(ca_bundle),
                cert=None,
            )
        self._settings: dict[str, Any] = dict(settings)
        self._routes: dict[str, _Route] = {}
        self._timeout = urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s)

    def send(self, request: WireRequest) -> RawAnswer:
        """Send one request.

        Returns:
            The answer, whose status nobody has looked at; `check` does.

        Raises:
            AskAgainError: No answer, or a broken one.
            SuspectUnreachableError: No certificate that can be verified, or an endless answer.
            SuspectConfigError: The address cannot be asked.
        """
        started = time.monotonic()
        try:
            route = self._route(request.url)
            response = route.pool.urlopen(
                request.method,
                route.target,
                body=request.body,
                headers={**route.headers, **self._headers(request)},
                timeout=self._timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.SSLError, requests.exceptions.SSLError) as error:
            raise SuspectUnreachableError(
                "url: expected a certificate that can be verified, got another one or none; for a "
                "private authority name its file as ca_bundle"
            ) from error
        except urllib3.exceptions.NewConnectionError as error:  # also a TimeoutError by its class
            raise AskAgainError(_why(error)) from error
        except urllib3.exceptions.TimeoutError as error:
            raise AskAgainError(f"none within {self._timeout_s:g} s") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SuspectConfigError(
                f"url: expected an address that can be asked, got {type(error).__name__}"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise AskAgainError(_why(error)) from error
        try:
            certificate = peer_certificate(response)
            # What a redirect says is not read: it may be anybody's.
            body = b"" if _is_redirect(response.status) else self._read(response, started)
        finally:
            response.close()
        return RawAnswer(
            url=request.url,
            status=response.status,
            headers=response.headers,
            body=body,
            certificate=certificate,
        )

    def check(self, raw: RawAnswer) -> None:
        """Refuse an answer whose status is not one of success.

        Raises:
            AskAgainError: The server says "later", or has an error that may pass.
            SuspectUnreachableError: Credentials refused, nothing there, or a redirect.
            SuspectConfigError: The server refuses the request as such.
        """
        if _is_redirect(raw.status):  # another host must not see the credentials or the triggers
            place = urlsplit(urljoin(raw.url, raw.headers.get("Location", "")))
            raise SuspectUnreachableError(
                f"url: expected an answer, got a redirect (status {raw.status}) to "
                f"{place.scheme}://{place.hostname}{place.path}; if that is the right place, "
                "write it as url"
            )
        if 200 <= raw.status < 300:
            return
        # Masked before it is cut, so that no half of an echoed secret remains.
        text = raw.body.decode("utf-8", "replace")
        said = excerpt((self._credential.mask(text) if self._credential else text).encode())
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

    def close(self) -> None:
        """Close idle connections."""
        self._adapter.close()

    def _route(self, url: str) -> _Route:
        """Return how to reach an address, found out once."""
        route = self._routes.get(url)
        if route is None:
            verify, proxies = self._settings["verify"], self._settings["proxies"]
            prepared = requests.Request("POST", url).prepare()
            pool = self._adapter.get_connection_with_tls_context(prepared, verify, proxies=proxies)
            self._adapter.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
            target = self._adapter.request_url(prepared, proxies)
            through = requests.utils.select_proxy(str(prepared.url), proxies)
            # Inside a tunnel the proxy sees no headers; the tunnel has its own.
            is_tunnel = url.startswith("https:")
            headers = self._adapter.proxy_headers(through) if through and not is_tunnel else {}
            route = self._routes[url] = _Route(pool=pool, target=target, headers=headers)
        return route

    def _headers(self, request: WireRequest) -> Mapping[str, str]:
        headers = {"User-Agent": "kinprint", "Accept-Encoding": "gzip, deflate", **request.headers}
        if self._credential is None:
            return headers
        proved = CaseInsensitiveDict(headers)
        proved.update(self._credential.headers_for(request))
        return proved

    def _read(self, response: urllib3.BaseHTTPResponse, started: float) -> bytes:
        """Return the body, bounded in bytes and in time."""
        chunks, size = [], 0
        try:
            # read1 returns what is there, so that a body that drips in cannot outlast the deadline
            while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise SuspectUnreachableError(
                        f"url: expected an answer of a classifier, got more than "
                        f"{MAX_ANSWER_BYTES >> 20} MiB; check the address"
                    )
                if time.monotonic() - started > self._timeout_s:
                    raise AskAgainError(f"no whole one within {self._timeout_s:g} s")
        except urllib3.exceptions.ReadTimeoutError as error:
            raise AskAgainError(f"no whole one within {self._timeout_s:g} s") from error
        except urllib3.exceptions.DecodeError as error:
            raise AskAgainError("a compressed body that cannot be unpacked") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise AskAgainError(f"a body cut short after {size} bytes") from error
        return b"".join(chunks)


def _is_redirect(status: int) -> bool:
    return 300 <= status < 400


def _why(error: BaseException) -> str:
    """Say in words why there is no connection, without the address that foreign errors repeat."""
    seen: set[int] = set()
    queue: list[Any] = [error]
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
