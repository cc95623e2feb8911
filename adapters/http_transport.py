"""Sends one request and brings back the bytes of one answer, or says why there are none.

Connections are pooled by requests' `HTTPAdapter`, which is used without a `Session`: there are
no cookies, no redirects, no credentials from ``.netrc``, and threads share nothing but the pool.
TLS certificates are always verified. Nothing here puts a header or a query into a message.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from adapters.endpoint_description import EndpointDescription
from adapters.http_retry import retry_after_seconds
from adapters.json_answer import excerpt
from adapters.peer_certificate import RememberingAdapter, peer_certificate
from adapters.secrets import Secret
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
    """An answer with a status of success."""

    headers: Mapping[str, str]
    body: bytes
    certificate: bytes | None
    """The server's, DER; None without TLS, or where it cannot be told."""


class HttpTransport:
    """A pool of connections to one endpoint; `send` may be called by several threads."""

    def __init__(
        self,
        description: EndpointDescription,
        secret: Secret | None,
        ca_bundle: Path | None = None,
    ) -> None:
        """Prepare the pool; nothing is sent yet.

        Args:
            description: The endpoint.
            secret: Credential for the header that the description names.
            ca_bundle: Authorities (PEM) that count instead of the usual ones.
        """
        self._timeout_s = description.timeout_s
        self._secret_header = description.auth.header if description.auth else ""
        self._secret = secret
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

    def send(self, request: WireRequest) -> RawAnswer:
        """Send one request.

        Raises:
            AskAgainError: No answer, a broken one, or one that says "later".
            SuspectUnreachableError: Credentials refused, nothing there, or a redirect.
            SuspectConfigError: The server refuses the request as such.
        """
        started = time.monotonic()
        try:
            response = self._adapter.send(
                self._prepared(request), timeout=self._timeout_s, **self._settings
            )
        except requests.exceptions.SSLError as error:
            raise SuspectUnreachableError(
                "url: expected a certificate that can be verified, got another one or none; for a "
                "private authority name its file as ca_bundle"
            ) from error
        except requests.exceptions.Timeout as error:
            raise AskAgainError(f"none within {self._timeout_s:g} s") from error
        except requests.exceptions.ConnectionError as error:
            raise AskAgainError(_why(error)) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SuspectConfigError(
                f"url: expected an address that can be asked, got {type(error).__name__}"
            ) from error
        try:
            certificate = peer_certificate(response)
            self._check_place(response)
            body = self._read(response, started)
        finally:
            response.close()
        self._check_status(response, body)
        return RawAnswer(headers=response.headers, body=body, certificate=certificate)

    def close(self) -> None:
        """Close idle connections."""
        self._adapter.close()

    def _prepared(self, request: WireRequest) -> requests.PreparedRequest:
        headers = {"User-Agent": "kinprint", "Accept-Encoding": "gzip, deflate", **request.headers}
        prepared = requests.Request(
            request.method, request.url, headers=headers, data=request.body
        ).prepare()
        if self._secret is not None:
            prepared.headers[self._secret_header] = self._secret.header_value()
        return prepared

    def _check_place(self, response: requests.Response) -> None:
        """Refuse redirects: another host must not see the credentials or the triggers."""
        if 300 <= response.status_code < 400:
            place = urlsplit(urljoin(response.url, response.headers.get("Location", "")))
            raise SuspectUnreachableError(
                f"url: expected an answer, got a redirect (status {response.status_code}) to "
                f"{place.scheme}://{place.hostname}{place.path}; if that is the right place, "
                "write it as url"
            )

    def _read(self, response: requests.Response, started: float) -> bytes:
        """Return the body, bounded in bytes and in time."""
        chunks, size = [], 0
        try:
            # read1 returns what is there, so that a body that drips in cannot outlast the deadline
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
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

    def _check_status(self, response: requests.Response, body: bytes) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        # Masked before it is cut, so that no half of an echoed secret remains.
        text = body.decode("utf-8", "replace")
        said = excerpt((self._secret.mask(text) if self._secret else text).encode())
        found = f"status {status} ({said})" if said else f"status {status}"
        if status in _ASK_AGAIN or status >= 500:
            raise AskAgainError(
                found,
                is_throttled=status in _THROTTLED,
                retry_after_s=retry_after_seconds(response.headers),
            )
        if status in _NO_CREDENTIALS:
            raise SuspectUnreachableError(
                f"auth: expected to be let in, got {found}; check the secret and its header"
            )
        if status in _NOT_HERE:
            raise SuspectUnreachableError(
                f"url: expected an answer, got {found}; check the address"
            )
        raise SuspectConfigError(
            f"request: expected an answer, got {found}; check the fields of the request"
        )


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
