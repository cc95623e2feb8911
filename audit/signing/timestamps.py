"""RFC 3161 timestamps: a third party's word that bytes existed at a time.

The only file that touches rfc3161-client (extra ``timestamp``), and only when a token is asked for
or checked. A token is kept as the authority's whole reply, base64 in JSON. A certificate inside a
reply proves nothing: a token counts only under a certificate that the reader brings along.

Format: RFC 3161 (Time-Stamp Protocol), HTTP transport of its section 3.4, SHA-256 imprints.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from adapters.extras import require
from audit.errors import AuditError, SignatureInvalidError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

TIMEOUT_S = 30.0
MAX_REPLY_BYTES = 2**20

_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


def encode_token(reply: bytes | None) -> str | None:
    """Return a reply as JSON holds it."""
    return None if reply is None else base64.b64encode(reply).decode("ascii")


def stamp_at(url: str) -> Callable[[bytes], bytes]:
    """Return a function that gets a timestamp over bytes from an authority.

    Args:
        url: Where the authority takes ``application/timestamp-query``.

    Returns:
        Bytes to the authority's reply; raises AuditError if there is none for these bytes.

    Raises:
        AuditError: The extra is not installed.
    """
    # Now, so that a missing package is told before an audit has begun to ask.
    _library()
    return lambda data: _ask(url, data)


def timestamp_request(data: bytes) -> bytes:
    """Return a query for a timestamp over bytes, with a nonce, asking for the certificate."""
    library = _library()
    builder = library.TimestampRequestBuilder().data(data)
    request = builder.hash_algorithm(library.HashAlgorithm.SHA256).cert_request(cert_request=True)
    return bytes(request.build().as_bytes())


def verified_time(token: str, imprint: str, certificates: Sequence[x509.Certificate]) -> float:
    """Check a token and return its time.

    Args:
        token: The reply, base64.
        imprint: SHA-256 in hex that it must be about.
        certificates: The authority's certificate or its roots; at least one.

    Returns:
        Unix time, seconds.

    Raises:
        SignatureInvalidError: Malformed, about other bytes, expired, or not by this authority.
        AuditError: The extra is not installed.
    """
    library = _library()
    reply = _decode(library, token)
    builder = library.VerifierBuilder()
    own = [certificate for certificate in certificates if _is_authority(certificate)]
    # Whoever asked for this token may not have asked for the certificate to be in it.
    if not reply.signed_data.certificates and own:
        builder = builder.tsa_certificate(own[0])
    for certificate in dict.fromkeys(certificates):
        builder = builder.add_root_certificate(certificate)
    # The imprint's bytes alone do not tell which hash they are of.
    if reply.tst_info.message_imprint.hash_algorithm != _SHA256:
        raise SignatureInvalidError("timestamp: expected a SHA-256 imprint, got another")
    try:
        builder.build().verify(reply, bytes.fromhex(imprint))
    except (library.VerificationError, ValueError, x509.ExtensionNotFound) as error:
        raise SignatureInvalidError(f"timestamp: it does not hold: {error}") from error
    return float(reply.tst_info.gen_time.timestamp())


def check_imprint(token: str, imprint: str) -> float:
    """Return the time that a token claims for some bytes, whoever made it.

    Arguments and errors as in `verified_time`; anybody can make a token that passes.
    """
    reply = _decode(_library(), token)
    found = reply.tst_info.message_imprint.message.hex()
    if found != imprint:
        raise SignatureInvalidError(f"timestamp: expected one over {imprint}, got one over {found}")
    return float(reply.tst_info.gen_time.timestamp())


def load_certificates(paths: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """Read PEM certificates.

    Raises:
        AuditError: A file is missing or holds none.
    """
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise AuditError(f"--tsa-cert: expected PEM certificates in {path}: {error}") from error
    return tuple(found)


def _ask(url: str, data: bytes) -> bytes:
    import requests

    query = timestamp_request(data)
    try:
        response = requests.post(
            url,
            data=query,
            headers={"Content-Type": "application/timestamp-query"},
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise AuditError(f"--timestamp-url: no answer from {url} ({error})") from error
    if response.status_code != 200 or len(response.content) > MAX_REPLY_BYTES:
        raise AuditError(
            f"--timestamp-url: expected a timestamp from {url}, got status {response.status_code}"
        )
    from audit.signing.canonical import sha256_hex

    try:
        # Only whether it is about these bytes: whoever verifies brings the authority's certificate.
        check_imprint(base64.b64encode(response.content).decode("ascii"), sha256_hex(data))
    except SignatureInvalidError as error:
        raise AuditError(f"--timestamp-url: {url}: {error}") from error
    return response.content


def _decode(library: ModuleType, token: str) -> "TimeStampResponse":
    try:
        reply: TimeStampResponse = library.decode_timestamp_response(
            base64.b64decode(token, validate=True)
        )
        granted = library.PKIStatus(reply.status) == library.PKIStatus.GRANTED
        reply.tst_info  # noqa: B018  # raises where a refusal carries no token
    except (ValueError, binascii.Error, TypeError) as error:
        raise SignatureInvalidError(f"timestamp: not an RFC 3161 reply: {error}") from error
    if not granted:
        raise SignatureInvalidError("timestamp: the authority refused to make one")
    return reply


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    # RFC 3161, section 2.3: nothing else makes a certificate one of an authority.
    return ExtendedKeyUsageOID.TIME_STAMPING in usage.value


def _library() -> ModuleType:
    require("rfc3161_client", by="a timestamp", error=AuditError)
    import rfc3161_client

    return rfc3161_client
