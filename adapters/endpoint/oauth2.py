"""OAuth2 client credentials: an id and a secret become tokens at another host.

The secret goes to the host of ``token_url``, and what is got for it to the host of the endpoint:
both have to be allowed.

Source: RFC 6749, The OAuth 2.0 Authorization Framework, sections 2.3.1, 4.4, 5.1 and 5.2.
"""

import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import quote_plus, urlencode, urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.endpoint.grants import origin_of
from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.masking import masked
from adapters.endpoint.secrets import Variable, secret_text
from adapters.endpoint.token_command import seconds_of
from adapters.endpoint.tokens import Token
from adapters.endpoint.wire_format import AskAgainError, WireRequest
from adapters.printable import excerpt, printable, shortened
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectError, SuspectUnreachableError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ASK_AGAIN = (408, 425, 429)


class OAuth2(FrozenModel):
    """The table ``[oauth2]``: where tokens are got, and as whom."""

    token_url: str
    """Address of the token endpoint."""
    client_id: Annotated[str, Field(min_length=1)] | None = None
    """Public name of the client; or the variable that holds it:"""
    client_id_env: Variable | None = None
    client_secret_env: Variable | None = None
    """Environment variable that holds the client's secret."""
    client_secret_file: Annotated[str, Field(min_length=1)] | None = None
    """File (mode 0600) that holds it instead."""
    scope: Annotated[str, Field(min_length=1)] | None = None
    """What the token is to be good for, several separated by blanks."""
    client_auth: Literal["basic", "post"] = "basic"
    """Whether id and secret go in the header ``Authorization`` or in the form."""
    extra: dict[str, str] = Field(default_factory=dict)
    """Further fields of the form, such as ``audience`` or ``resource``."""
    ca_bundle: Annotated[str, Field(min_length=1)] | None = None
    """PEM file of the authorities that sign the token endpoint's certificate."""

    @field_validator("token_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        parts = urlsplit(url)
        is_here = parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
            raise ValueError("expected https://, since a secret goes there")
        if not parts.hostname or "@" in parts.netloc or parts.fragment or not url.isascii():
            raise ValueError("expected a plain address, without user and #fragment")
        return url

    @model_validator(mode="after")
    def _one_place_each(self) -> "OAuth2":
        if (self.client_id is None) == (self.client_id_env is None):
            raise ValueError("client_id: expected one of client_id and client_id_env")
        if (self.client_secret_env is None) == (self.client_secret_file is None):
            raise ValueError(
                "client_secret_env: expected one of client_secret_env and client_secret_file"
            )
        return self


class Exchange(Protocol):
    """An answer of the token endpoint."""

    @property
    def status(self) -> int:
        """Of the answer."""
        ...

    @property
    def body(self) -> bytes:
        """Of the answer."""
        ...


class TokenTransport(Protocol):
    """Sends requests to the token endpoint."""

    def send(self, request: WireRequest) -> Exchange:
        """Send one."""
        ...

    def look_up(self) -> None:
        """Look up where its host leads."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


@dataclass(kw_only=True)
class ClientCredentials:
    """Fetches tokens for an id and a secret; prints without them."""

    table: OAuth2
    client_id: str
    _secret: str = field(repr=False)
    transport: TokenTransport | None = None
    """Put in by whoever opens connections."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secret, in both ways in which it is sent."""
        return self._secret, self._basic

    @property
    def _basic(self) -> str:
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
        return base64.b64encode(pair.encode()).decode()

    def fetch(self) -> Token:
        """Ask for a token.

        Raises:
            AskAgainError: The token endpoint says later, or fails.
            SuspectError: It refuses, or answers with something else.
        """
        assert self.transport is not None, "put in when the endpoint was opened"
        try:
            answer = self.transport.send(self.request())
        except AskAgainError as error:
            raise AskAgainError(f"no token from oauth2.token_url: {error.reason}") from error
        return self._read(answer.status, answer.body)

    def request(self) -> WireRequest:
        """Return the request for a token."""
        form = {"grant_type": "client_credentials", **self.table.extra}
        if self.table.scope is not None:
            form["scope"] = self.table.scope
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        if self.table.client_auth == "basic":
            headers["Authorization"] = f"Basic {self._basic}"
        else:
            form |= {"client_id": self.client_id, "client_secret": self._secret}
        body = urlencode(form).encode()
        return WireRequest(method="POST", url=self.table.token_url, headers=headers, body=body)

    def look_up(self) -> None:
        """Look up where the token endpoint's host leads."""
        if self.transport is not None:
            self.transport.look_up()

    def close(self) -> None:
        """Close idle connections."""
        if self.transport is not None:
            self.transport.close()

    def _read(self, status: int, body: bytes) -> Token:
        document: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(body)
        fields = document if isinstance(document, dict) else {}
        if status in _ASK_AGAIN or status >= 500:
            raise AskAgainError(
                f"no token from oauth2.token_url: status {status}", is_throttled=status == 429
            )
        token = fields.get("access_token")
        if not 200 <= status < 300:
            raise SuspectUnreachableError(
                f"oauth2: expected a token, got status {status}{self._reason(fields)}; check "
                "token_url, client_id, the secret and scope"
            )
        if not isinstance(token, str) or not token or not token.isascii() or " " in token:
            # Nothing of the answer is shown: it may be a token under another name.
            raise SuspectError(
                f"oauth2: expected access_token in the answer of token_url, got {len(body)} bytes "
                "without it"
            )
        if not token.isprintable() or str(fields.get("token_type", "bearer")).lower() != "bearer":
            kind = printable(shortened(str(fields.get("token_type")), 40))
            raise SuspectError(f"oauth2: expected a token of the type Bearer, got {kind}")
        return Token(value=token, valid_for_s=seconds_of(fields.get("expires_in")))

    def _reason(self, fields: dict[str, Any]) -> str:
        """Return what a refusal says (RFC 6749, 5.2), without secrets."""
        words = [fields.get(name) for name in ("error", "error_description")]
        told = ": ".join(word for word in words if isinstance(word, str))
        shown = excerpt(masked(told, self.secrets).encode(errors="replace"))
        return f" ({shown})" if told else ""


def client_credentials(table: OAuth2, access: LocalAccess) -> ClientCredentials:
    """Fetch id and secret from where the endpoint file says they lie.

    Args:
        table: The file's table ``[oauth2]``.
        access: The endpoint file's, for the host of the endpoint.

    Raises:
        NotGrantedError: Nobody allowed them for the token endpoint, and what is got for them for
            the endpoint.
        SuspectConfigError: Not there, or no text.
    """
    reader = access.towards(origin_of(table.token_url), "to fetch tokens")
    use = "as tokens that are fetched with it"
    secret = secret_text(
        reader,
        use,
        env=table.client_secret_env,
        file=table.client_secret_file,
        at="oauth2.client_secret_",
    )
    client_id = table.client_id
    if client_id is None:
        env = table.client_id_env
        client_id = secret_text(reader, use, env=env, file=None, at="oauth2.client_id_")
    return ClientCredentials(table=table, client_id=client_id, _secret=secret)
