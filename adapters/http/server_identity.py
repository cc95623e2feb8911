"""What a server says about itself with an answer: its certificate and a few of its headers.

Only headers that name a server, a request or a model are taken, never a cookie or a credential.
Whatever comes from a server is cut and made printable before it goes anywhere.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

from adapters.printable import printable, shortened

CERTIFICATE = "tls.certificate_sha256"
"""Name of the certificate's digest."""
_REQUEST_HEADERS = (
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "apim-request-id",
    "x-amzn-requestid",
)
HEADERS = (
    "server",
    "via",
    *_REQUEST_HEADERS,
    "x-amzn-invoked-production-variant",
    "azureml-model-deployment",
    "azureml-model-session",
    "x-model-name",
    "x-model-version",
)
"""Servers and proxies, requests, and the model or variant behind the common serving platforms."""
_NAMES = frozenset(HEADERS)
REQUEST_IDS = frozenset(f"header.{name}" for name in _REQUEST_HEADERS)
"""Names whose values are another one with each request."""
MAX_LENGTH = 200
"""Characters of one value."""


def server_words(headers: Mapping[str, str], certificate: bytes | None) -> dict[str, str]:
    """Return what is worth recording, by name.

    Args:
        headers: Of the answer; names compare without case.
        certificate: The server's, DER; None without TLS.

    Returns:
        ``header.NAME`` for each of `HEADERS` that is there, ``tls.*`` for the certificate.

    Example:
        >>> server_words({"server": "nginx"}, None)
        {'header.server': 'nginx'}
    """
    there = _NAMES.intersection(name.lower() for name in headers)  # nearly always one or none
    said = {f"header.{name}": headers[name] for name in HEADERS if name in there}
    if certificate is not None:
        said |= _certificate_words(certificate)
    return said


def presentable(text: str) -> str:
    r"""Return a foreign text on one line, of printable characters and of bounded length.

    Example:
        >>> presentable("a\x1b[31m\u202eb")
        'a?[31m?b'
    """
    return printable(shortened(text, MAX_LENGTH))


@lru_cache(maxsize=16)
def _certificate_words(certificate: bytes) -> dict[str, str]:
    words = {CERTIFICATE: hashlib.sha256(certificate).hexdigest()}
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        words["tls.subject"] = parsed.subject.rfc4514_string()
        words["tls.issuer"] = parsed.issuer.rfc4514_string()
        words["tls.valid_from"] = _utc(parsed.not_valid_before_utc)
        words["tls.valid_to"] = _utc(parsed.not_valid_after_utc)
    except ValueError:
        pass  # the TLS library is satisfied with it; its digest says which one it was
    return words


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
