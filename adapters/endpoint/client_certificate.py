"""A certificate by which the client proves in TLS who it is (mutual TLS)."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.secrets import Variable, secret_text
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError


class ClientCertificate(FrozenModel):
    """The table ``[client_certificate]``."""

    certificate: Annotated[str, Field(min_length=1)]
    """PEM file with the certificate and those between it and its authority."""
    key: Annotated[str, Field(min_length=1)] | None = None
    """PEM file with its private key (mode 0600); in the same file where absent."""
    passphrase_env: Variable | None = None
    """Environment variable with the key's passphrase."""


@dataclass(frozen=True, kw_only=True)
class ClientCertificateFiles:
    """Where certificate and key lie."""

    certificate: Path
    key: Path
    passphrase: str | None = field(default=None, repr=False)


def client_certificate(table: ClientCertificate, access: LocalAccess) -> ClientCertificateFiles:
    """Find the certificate that an endpoint file names, and see that it can be used.

    Args:
        table: The file's table ``[client_certificate]``.
        access: Reads its files, if that is granted.

    Raises:
        NotGrantedError: Nobody allowed them for this host.
        SuspectConfigError: Not there, readable by others, or no certificate with its key.
    """
    use = "as the client's certificate"
    key_name = table.key or table.certificate
    place = f"client_certificate.{'key' if table.key else 'certificate'}: expected a private key in"
    names = [table.certificate, *([table.key] if table.key else [])]
    certificate, *_ = paths = access.files(names, use)
    access.private_text(key_name, use, f"{place} {key_name}")
    passphrase = None
    if table.passphrase_env is not None:
        passphrase = secret_text(
            access,
            "to open the client's private key",
            env=table.passphrase_env,
            file=None,
            at="client_certificate.passphrase_",
        )
    files = ClientCertificateFiles(certificate=certificate, key=paths[-1], passphrase=passphrase)
    try:
        # An empty passphrase instead of none, for which OpenSSL would ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            files.certificate, files.key, passphrase or ""
        )
    except (OSError, ValueError) as error:
        is_there = isinstance(error, ssl.SSLError | ValueError)
        reason = "no such pair" if is_there else str(getattr(error, "strerror", error))
        raise SuspectConfigError(
            f"client_certificate: expected a PEM certificate in {table.certificate} with its key "
            f"in {key_name}, got {reason}; check the files and the passphrase"
        ) from None
    return files
