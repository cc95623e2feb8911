"""The one place where a secret is held and masked; `local_access` is the one where it is read.

A `Secret` prints as ``***`` wherever it goes; only `Secret.headers_for` gives it away, to the code
that writes the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol
from urllib.parse import quote

from pydantic import Field, model_validator

from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.masking import MASK, masked
from adapters.endpoint.wire_format import WireRequest
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError

_NOT_IN_COOKIES = frozenset(' ",;\\')
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]


QUERY = ":query"
"""Pseudo-header of what is added to the query of the request line; it is never a header."""


class Auth(FrozenModel):
    """Where the secret lies, and the header, query field or cookie that carries it."""

    header: HeaderName = "Authorization"
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    """Word before the secret, such as ``Bearer``; empty for none."""
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]+$")] | None = None
    """Field of the address's query that carries it instead of the header."""
    cookie: HeaderName | None = None
    """Cookie that carries it instead of the header."""
    env: Variable | None = None
    """Environment variable that holds the secret."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """File (mode 0600) that holds the secret, relative to the endpoint file's folder."""

    command: (
        Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None
    ) = Field(default=None, strict=False)
    """Program and arguments that print a token, one word each; no shell is asked."""
    valid_for_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds for which a token of the command is used; until it is refused where absent."""

    @model_validator(mode="after")
    def _one_place(self) -> "Auth":
        places = [self.env is not None, self.file is not None, self.command is not None]
        if sum(places) != 1:
            found = "neither" if not any(places) else "both" if sum(places) == 2 else "all"
            raise ValueError(f"expected one of env, file and command, got {found}")
        if self.valid_for_s is not None and self.command is None:
            raise ValueError("valid_for_s: expected a command beside it, got none")
        return self

    @model_validator(mode="after")
    def _one_carrier(self) -> "Auth":
        carriers = {"header", "query", "cookie"} & self.model_fields_set
        if len(carriers) > 1:
            raise ValueError(f"expected one of {' and '.join(sorted(carriers))}, got both")
        if self.scheme and carriers & {"query", "cookie"}:
            raise ValueError("scheme: expected none beside query or cookie, got one")
        return self

    @property
    def carrier(self) -> str:
        """Return what carries the secret, for people."""
        if self.query is not None:
            return f"the query field {self.query}"
        if self.cookie is not None:
            return f"the cookie {self.cookie}"
        return f"the header {self.header}"


class Credential(Protocol):
    """What proves to a server who is asking; prints without what must stay secret."""

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the headers that prove it for one request, in the clear; called per attempt.

        What belongs into the query of the request line stands under `QUERY`.
        """
        ...

    def mask(self, text: str) -> str:
        """Return ``text`` with everything secret replaced by ``***``."""
        ...

    def shown_headers(self) -> dict[str, str]:
        """Return those headers for people, without what is secret."""
        ...


@dataclass(frozen=True)
class Secret:
    """A credential, and how a request carries it."""

    _value: str = field(repr=False)
    _auth: Auth

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the header that carries the secret."""
        return carried(self._auth, self._value)

    def shown_headers(self) -> dict[str, str]:
        """Return the header with ``***`` in the place of the secret."""
        return carried(self._auth, MASK)

    def mask(self, text: str) -> str:
        """Return ``text`` with the secret, however it is written, replaced by ``***``."""
        return masked(text, (self._value,))


def carried(auth: Auth, value: str) -> dict[str, str]:
    """Return the header that carries a secret, or the stars in its place."""
    if auth.query is not None:
        return {QUERY: f"{auth.query}={quote(value, safe='*')}"}
    if auth.cookie is not None:
        return {"Cookie": f"{auth.cookie}={value}"}
    return {auth.header: f"{auth.scheme} {value}".lstrip()}


def secret_text(
    access: LocalAccess, use: str, *, env: str | None, file: str | None, at: str
) -> str:
    """Return a secret from the variable or the file that holds it.

    Args:
        access: Reads it, if that is granted.
        use: What becomes of it, for the user.
        env: The variable; or else
        file: The private file.
        at: The table or field, for errors.

    Raises:
        NotGrantedError: Nobody allowed it for this host.
        SuspectConfigError: Not there, readable by others, or no text that a header can carry.
    """
    if env is not None:
        place = f"{at}env: expected a secret in the environment variable {env}"
        (found,) = access.variables([env], use)
        if not found:
            raise SuspectConfigError(f"{place}, got nothing; set it and start again")
    else:
        place = f"{at}file: expected a secret in {file}"
        found = access.private_text(str(file), use, place)
    value = found.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise SuspectConfigError(f"{place}, got no single line of printable ASCII")
    return value


def read_secret(auth: Auth, access: LocalAccess) -> Secret:
    """Fetch the secret from where the endpoint file says it lies.

    Args:
        auth: The file's table ``[auth]``.
        access: Reads it, if that is granted.

    Raises:
        NotGrantedError: Nobody allowed it for this host.
        SuspectConfigError: Not there, readable by others, or no text that a header can carry.
    """
    value = secret_text(access, f"in {auth.carrier}", env=auth.env, file=auth.file, at="auth.")
    if auth.cookie is not None and set(value) & _NOT_IN_COOKIES:
        raise SuspectConfigError(
            "auth.cookie: expected a secret without blanks, quotes, commas "
            "and semicolons, got one with some"
        )
    return Secret(value, auth)
