"""Sends one request over gRPC; what comes of it is told as HTTP tells it.

A status becomes the HTTP status that gRPC's own mapping names, so that patience, budgets and words
are those of any endpoint. The channel's own retries are off: a request that is sent is counted.
"""

import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from adapters.endpoint.client_certificate import ClientCertificateFiles
from adapters.endpoint.grants import NOTHING, Grants
from adapters.endpoint.secrets import Credential
from adapters.endpoint.wire_format import AskAgainError, WireRequest
from adapters.http.answer_reader import MAX_ANSWER_BYTES
from adapters.http.peer_address import require_address
from adapters.http.transport import HttpTransport, Place, RawAnswer
from adapters.suspect import SuspectConfigError, SuspectUnreachableError

_STATUS = {
    "CANCELLED": 503,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_NEVER_S = 999_999
"""Of a server that wants no further attempt: long enough to end the audit, which can be resumed."""
_NO_CONNECTION = ("failed to connect", "connections to all backends failing", "name resolution")
_NO_TRUST = ("certificate", "handshake", "ssl", "tls")


class GrpcTransport(HttpTransport):
    """A channel to one endpoint; `send` may be called by several threads."""

    def __init__(
        self,
        place: Place,
        credential: Credential | None,
        ca_bundle: Path | None = None,
        grants: Grants = NOTHING,
        client_certificate: ClientCertificateFiles | None = None,
    ) -> None:
        """Prepare; arguments as in `HttpTransport`, nothing is sent yet."""
        super().__init__(place, credential, ca_bundle, grants, client_certificate)
        if client_certificate is not None and client_certificate.passphrase:
            raise SuspectConfigError(
                "client_certificate.passphrase_env: expected a key without one over gRPC, got one "
                "with; write the key into a private file without"
            )
        self._channel: Any = None
        self._connecting = threading.Lock()

    def send(self, request: WireRequest) -> RawAnswer:
        """Call the method that the request names; returns and raises as in `HttpTransport`."""
        import grpc

        call = self._connected().unary_unary(request.method)
        try:
            body, said = call.with_call(
                request.body, timeout=self._timeout_s, metadata=self._metadata(request)
            )
        except grpc.RpcError as error:
            return self._refused(request, error)
        except ValueError as error:
            raise SuspectConfigError(
                f"headers: expected what gRPC metadata can carry, got {type(error).__name__}"
            ) from None
        headers = _headers((*(said.initial_metadata() or ()), *(said.trailing_metadata() or ())))
        return RawAnswer(url=request.url, status=200, headers=headers, body=body, certificate=None)

    def close(self) -> None:
        """Close the channel, and forget tokens."""
        super().close()
        if self._channel is not None:
            self._channel.close()

    def _refused(self, request: WireRequest, error: Any) -> RawAnswer:
        name, told = error.code().name, error.details() or ""
        words = told.lower()
        if name == "DEADLINE_EXCEEDED":
            raise AskAgainError(f"none within {self._timeout_s:g} s")
        if name == "UNAVAILABLE" and any(one in words for one in _NO_CONNECTION):
            # The library's own words, which repeat the address.
            if self._url.startswith("https:") and any(one in words for one in _NO_TRUST):
                raise SuspectUnreachableError(
                    "url: expected a certificate that can be verified, got another one or none; "
                    "for a private authority name its file as ca_bundle"
                )
            raise AskAgainError("no connection")
        headers = _headers(error.trailing_metadata() or ())
        pushback = headers.get("grpc-retry-pushback-ms")
        if pushback is not None:
            # One that is negative or no number forbids another attempt (gRPC, A6).
            seconds = int(pushback) / 1000 if pushback.isdecimal() else _NEVER_S
            headers["Retry-After"] = f"{seconds:g}"
        if name == "RESOURCE_EXHAUSTED" and "larger than max" in words:
            raise SuspectUnreachableError(
                f"url: expected an answer of at most {MAX_ANSWER_BYTES} bytes, got {name}: {told}"
            )
        return RawAnswer(
            url=request.url,
            status=_STATUS.get(name, 500),
            headers=headers,
            body=f"{name}: {told}".encode(),
            certificate=None,
        )

    def _metadata(self, request: WireRequest) -> list[tuple[str, str]]:
        headers = dict(request.headers)
        if self._credential is not None:
            headers |= self._credential.headers_for(request)
        return [(name.lower(), value) for name, value in headers.items()]

    def _connected(self) -> Any:
        """Return the channel; it leads to an address that was looked at before."""
        with self._connecting:
            if self._channel is None:
                self._channel = self._new_channel()
            return self._channel

    def _new_channel(self) -> Any:
        import grpc

        place = urlsplit(self._url)
        port = place.port or (443 if place.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise AskAgainError("no such host") from None
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            require_address(self._host, address, self._grants)
        # The channel gets the addresses, not the name, which may lead elsewhere a moment later.
        # They are of one family; nearly whatever has a name has one of the older.
        family = "ipv6" if all(":" in one for one in addresses) else "ipv4"
        same = [one for one in dict.fromkeys(addresses) if (":" in one) == (family == "ipv6")]
        shown = [f"[{one}]:{port}" if family == "ipv6" else f"{one}:{port}" for one in same]
        options: list[tuple[str, Any]] = [
            ("grpc.default_authority", place.netloc),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.primary_user_agent", "kinprint"),
            ("grpc.service_config_disable_resolution", 1),
            # Two suspects of one process share nothing.
            ("grpc.use_local_subchannel_pool", 1),
            # When to try again is decided here, attempt by attempt.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        target = f"{family}:{','.join(shown)}"
        if place.scheme == "http":
            return grpc.insecure_channel(target, options=options)
        files, verify = self._client_certificate, self._settings["verify"]
        authorities = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        credentials = grpc.ssl_channel_credentials(
            root_certificates=Path(authorities).read_bytes(),
            private_key=None if files is None else Path(files.key).read_bytes(),
            certificate_chain=None if files is None else Path(files.certificate).read_bytes(),
        )
        options.append(("grpc.ssl_target_name_override", self._host))
        return grpc.secure_channel(target, credentials, options=options)


def _headers(pairs: Iterable[tuple[str, str | bytes]]) -> CaseInsensitiveDict[str]:
    """Return metadata as headers; what is binary is left out."""
    return CaseInsensitiveDict({name: value for name, value in pairs if isinstance(value, str)})
