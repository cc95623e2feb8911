"""An endpoint file as a suspect: its secret, its authorities, its classes; nothing is sent."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from adapters.class_map import class_map
from adapters.endpoint.client_certificate import client_certificate
from adapters.endpoint.description import EndpointDescription, is_loopback
from adapters.endpoint.grants import NOTHING, Grants, NotGrantedError, origin_of
from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.oauth2 import ClientCredentials
from adapters.endpoint.secrets import Credential
from adapters.endpoint.tokens import TokenCredential
from adapters.http.endpoint_file import read_endpoint_file
from adapters.http.peer_address import require_written_address
from adapters.http.suspect import HttpEndpoint
from adapters.http.transport import HttpTransport
from adapters.suspect import SuspectConfigError


def open_endpoint(
    path: Path,
    *,
    bundle_classes: Sequence[str] | None = None,
    ca_bundle: Path | None = None,
    allow_plain_http: bool = False,
    requests_per_second: float | None = None,
    grants: Grants = NOTHING,
) -> HttpEndpoint:
    """Read an endpoint file and fetch the secret that it names; nothing is sent yet.

    Args:
        path: TOML file, see ``docs/endpoints.md``.
        bundle_classes: The bundle's class names in its order; needed where the file maps labels
            to names or names no classes at all, and checked against the file otherwise.
        ca_bundle: Authorities (PEM) that count instead of those that the file names.
        allow_plain_http: Let credentials travel to another machine without TLS.
        requests_per_second: Upper limit, instead of the one that the file names.
        grants: What the file may use of this machine, and where its host may lead.

    Raises:
        NotGrantedError: The file wants more than that; nothing of it was read.
        SuspectConfigError: A field is wrong, the secret is missing, or the classes do not fit.
    """
    description = read_endpoint_file(path, allow_plain_http=allow_plain_http)
    if requests_per_second is not None:
        if not 0 < requests_per_second < float("inf"):
            raise SuspectConfigError(
                f"rate: expected more than 0 requests a second, got {requests_per_second:g}"
            )
        changed = {"requests_per_second": requests_per_second}
        description = description.model_copy(update=changed)
    if description.names_classes and description.class_names is None and bundle_classes:
        description = description.model_copy(update={"class_names": tuple(bundle_classes)})
    url = description.url
    access = LocalAccess(folder=path.parent, origin=origin_of(url), grants=grants)
    try:
        require_written_address(urlsplit(url).hostname or "", grants)
        secret = description.credential(access)
        certificate = None
        if description.client_certificate is not None:
            certificate = client_certificate(description.client_certificate, access)
        if description.oauth2 is not None:
            _connect(secret, description, access)
        authorities = _ca_bundle(description, access, ca_bundle)
        classes = class_map(
            description.class_names,
            bundle_classes,
            description.refusals,
            description.absent_classes,
        )
        if description.words is not None:
            classes = classes.reading(description.words)
    except NotGrantedError as error:
        raise NotGrantedError(f"{path}: {error}", error.needs) from error
    except SuspectConfigError as error:
        raise SuspectConfigError(f"{path}: {error}") from error
    return HttpEndpoint(description, classes, secret, authorities, grants, certificate)


@dataclass(frozen=True, kw_only=True)
class _TokenPlace:
    """The token endpoint, as the transport sees it."""

    url: str
    timeout_s: float
    concurrency: int = 1

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.url)


def _connect(
    credential: Credential | None, description: EndpointDescription, access: LocalAccess
) -> None:
    """Give a credential the way to the host that hands out its tokens."""
    table = description.oauth2
    assert table is not None
    assert isinstance(credential, TokenCredential)
    assert isinstance(credential.source, ClientCredentials)
    url = table.token_url
    require_written_address(urlsplit(url).hostname or "", access.grants)
    authorities = None
    if table.ca_bundle is not None:
        there = replace(access, origin=origin_of(url))
        authorities = there.file(table.ca_bundle, "to vouch for its certificate")
        _require_certificates(authorities)
    place = _TokenPlace(url=url, timeout_s=description.timeout_s)
    credential.source.transport = HttpTransport(place, None, authorities, access.grants)


def _ca_bundle(
    description: EndpointDescription, access: LocalAccess, given: Path | None
) -> Path | None:
    if given is None and description.ca_bundle is None:
        return None
    if given is not None and description.url.startswith("http:"):
        raise SuspectConfigError("ca_bundle: expected none beside a http:// url, which has no TLS")
    path = given or access.file(str(description.ca_bundle), "to vouch for its certificate")
    _require_certificates(path)
    return path


def _require_certificates(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        found = "none" if isinstance(error, ssl.SSLError) else error.strerror
        raise SuspectConfigError(
            f"ca_bundle: expected PEM certificates in {path}, got {found}"
        ) from error
