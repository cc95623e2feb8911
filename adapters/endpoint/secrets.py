"""The one place where a secret is held and masked; `local_access` is the one where it is read.

A `Secret` prints as ``***`` wherever it goes; only `Secret.header_value` gives it away, to the
code that writes the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from pydantic import Field, model_validator

from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.masking import MASK, masked
from adapters.endpoint.wire_format import WireRequest
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]


class Auth(FrozenModel):
    """Where the secret lies, and the header that carries it."""

    header: HeaderName = "Authorization"
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    """Word before the secret, such as ``Bearer``; empty for none."""
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the secret."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """File (mode 0600) that holds the secret, relative to the endpoint file's folder."""

    @model_validator(mode="after")
    def _one_place(self) -> "Auth":
        if (self.env is None) == (self.file is None):
            found = "neither" if self.env is None else "both"
            raise ValueError(f"expected one of env and file, got {found}")
        return self


class Credential(Protocol):
    """What proves to a server who is asking; prints without what must stay secret."""

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the headers that prove it for one request, in the clear; called per attempt."""
        ...

    def mask(self, text: str) -> str:
        """Return ``text`` with everything secret replaced by ``***``."""
        ...

    def shown_headers(self) -> dict[str, str]:
        """Return those headers for people, without what is secret."""
        ...


@dataclass(frozen=True)
class Secret:
    """A credential, the word that goes before it, and the header that carries both."""

    _value: str = field(repr=False)
    _scheme: str = ""
    _header: str = "Authorization"

    def header_value(self) -> str:
        """Return what the header carries, in the clear."""
        return f"{self._scheme} {self._value}".lstrip()

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the header that carries the secret."""
        return {self._header: self.header_value()}

    def shown_headers(self) -> dict[str, str]:
        """Return the header with ``***`` in the place of the secret."""
        return {self._header: f"{self._scheme} {MASK}".lstrip()}

    def mask(self, text: str) -> str:
        """Return ``text`` with the secret, however it is written, replaced by ``***``."""
        return masked(text, (self._value,))


def read_secret(auth: Auth, access: LocalAccess) -> Secret:
    """Fetch the secret from where the endpoint file says it lies.

    Args:
        auth: The file's table ``[auth]``.
        access: Reads it, if that is granted.

    Raises:
        NotGrantedError: Nobody allowed it for this host.
        SuspectConfigError: Not there, readable by others, or no text that a header can carry.
    """
    use = f"in the header {auth.header}"
    if auth.env is not None:
        place = f"auth.env: expected a secret in the environment variable {auth.env}"
        (found,) = access.variables([auth.env], use)
        if not found:
            raise SuspectConfigError(f"{place}, got nothing; set it and start again")
    else:
        place = f"auth.file: expected a secret in {auth.file}"
        found = access.private_text(str(auth.file), use, place)
    value = found.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise SuspectConfigError(f"{place}, got no single line of printable ASCII")
    return Secret(value, auth.scheme, auth.header)
