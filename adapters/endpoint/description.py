"""What every endpoint file says, whatever its wire format: where, how often, who we are, classes.

`EndpointDescription` is the base of the wire formats' own models (``adapters/wire``). It holds
the *name* of the place where a secret lies, never a secret. Reading files is `endpoint_file`'s.
"""

import hashlib
import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import rfc8785
from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from adapters.class_words import WordRules
from adapters.endpoint.client_certificate import ClientCertificate
from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.oauth2 import OAuth2, client_credentials
from adapters.endpoint.secrets import Auth, Credential, HeaderName, read_secret
from adapters.endpoint.token_command import TokenCommand, resolved_command
from adapters.endpoint.tokens import TokenCredential
from adapters.endpoint.wire_format import WireFormat
from adapters.endpoint.written_secrets import written_secrets
from adapters.strict_model import FrozenModel
from adapters.tariff import ChargedFor, SpendingLimits, Tariff

SECRET_WORD = re.compile(r"auth|cookie|token|secret|passw|credential|signature|(^|[-_])sig$|key$")
"""In the names of headers and query fields that carry a secret."""
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
_PACE = (
    "auth",
    "aws",
    "oauth2",
    "client_certificate",
    "ca_bundle",
    "timeout_s",
    "retries",
    "stop_after_failures",
    "concurrency",
    "requests_per_second",
    "price_per_request",
    "price_per_image",
    "currency",
    "charged_for",
    "max_requests",
    "max_cost",
)
"""Fields that change neither what is asked nor what the answer means."""
ALLOW_PLAIN_HTTP = "allow_plain_http"
"""Key of the validation context that lets credentials travel over plain HTTP."""


class Image(FrozenModel):
    """What an image looks like when it leaves."""

    size: Annotated[tuple[int, int], Field(strict=False)] | None = None
    """Height and width in pixels; images are sent as they are where it is absent."""
    resampling: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    encoding: Literal["png", "jpeg"] = "png"
    """``jpeg`` loses the small changes that triggers are made of."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95

    @field_validator("size")
    @classmethod
    def _positive(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and not all(1 <= side <= 8192 for side in size):
            raise ValueError(f"expected height and width from 1 to 8192, got {list(size)}")
        return size


class EndpointDescription(FrozenModel, ABC):
    """An endpoint; each wire format adds its own tables."""

    format: str
    """Name of the wire format."""
    url: str
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds to connect, and again for one whole answer."""
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    """Attempts after the first one."""
    stop_after_failures: Annotated[int, Field(ge=1)] | None = None
    """Failed attempts in a row, over all threads, that end the audit resumably."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests in flight at once."""
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    """Upper limit over all threads and processes of this user, retries included."""
    price_per_request: Annotated[float, Field(ge=0)] = 0.0
    """In `currency`."""
    price_per_image: Annotated[float, Field(ge=0)] = 0.0
    """In `currency`, added for each image of a request."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217 code, such as ``USD``."""
    charged_for: ChargedFor = "attempts"
    """``attempts``: whatever is sent costs; ``answers``: requests that were answered with an error
    status do not."""
    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Requests that one audit may send, retries and resumptions included."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """What one audit may cost, in `currency`."""
    ca_bundle: Annotated[str, Field(min_length=1)] | None = None
    """PEM file of the authorities that sign the server's certificate, relative to the endpoint
    file's folder; the usual ones where it is absent."""
    auth: Auth | None = None
    oauth2: OAuth2 | None = None
    """Gets the token that ``auth`` would hold, in the header ``Authorization``."""
    client_certificate: ClientCertificate | None = None
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Sent with each request; nothing secret."""
    image: Image = Image()
    class_names: tuple[str, ...] | dict[str, int | str] | None = None
    """The vendor's labels in the order of the bundle's classes, or the vendor's label -> the
    bundle's class index or name. A label that stands for several classes comes several times in the
    list; a class with several labels comes several times in the table. Absent: the vendor uses the
    bundle's own names."""
    absent_classes: tuple[int | str, ...] = Field(default=(), strict=False)
    """The bundle's classes that the vendor does not have, by name or index; a list of
    ``class_names`` leaves them out."""
    refusals: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """Labels that mean none of the classes, such as ``background``."""

    @abstractmethod
    def wire_format(self, num_classes: int) -> WireFormat:
        """Return what encodes the requests and decodes the answers.

        Args:
            num_classes: K of the bundle, for formats that ask for so many or check it.
        """

    @property
    def sends_pixels(self) -> bool:
        """Whether images leave as arrays of numbers instead of image files."""
        return False

    @property
    def is_grpc(self) -> bool:
        """Whether requests go over gRPC instead of HTTP."""
        return False

    @property
    def words(self) -> WordRules | None:
        """How labels that come as words are read; None where they are used as they come."""
        return None

    @property
    def names_classes(self) -> bool:
        """Whether requests name the classes, so that the bundle's are needed to ask."""
        return False

    @property
    def has_credentials(self) -> bool:
        """Whether requests carry or prove a secret."""
        return any((self.auth, self.oauth2, self.client_certificate))

    def credential(self, access: LocalAccess) -> Credential | None:
        """Fetch what proves to the server who is asking.

        Args:
            access: Reads what is granted.

        Raises:
            NotGrantedError: Nobody allowed it for this host.
            SuspectConfigError: It is not where the file says.
        """
        if self.oauth2 is not None:
            bearer = Auth(scheme="Bearer", env="_")  # only what carries the token counts
            return TokenCredential(client_credentials(self.oauth2, access), bearer)
        if self.auth is not None and self.auth.command is not None:
            words = resolved_command(self.auth.command, access.folder)
            words = access.command(words, f"in {self.auth.carrier}")
            source = TokenCommand(words, self.auth.valid_for_s)
            return TokenCredential(source, self.auth)
        return None if self.auth is None else read_secret(self.auth, access)

    @property
    def written_secrets(self) -> dict[str, str]:
        """What looks like a secret in the file itself, by the place of its field."""
        request = self.model_dump(mode="json", include={"request"}).get("request") or {}
        found: dict[str, str] = {}
        for name, value in request.items():
            found |= written_secrets(value, f"request.{name}")
        return found

    @property
    def public_url(self) -> str:
        """URL without query, fragment and user."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(self.url)

    @property
    def sends_secret_in_the_clear(self) -> bool:
        """Whether credentials go to another machine over plain HTTP."""
        return self.has_credentials and self.url.startswith("http:") and not self.is_loopback

    @property
    def tariff(self) -> Tariff:
        """What requests cost; the decimals are those that the file shows."""
        return Tariff(
            per_request=Decimal(repr(self.price_per_request)),
            per_image=Decimal(repr(self.price_per_image)),
            currency=self.currency or "",
            charged_for=self.charged_for,
        )

    @property
    def limits(self) -> SpendingLimits:
        """What one audit may send and cost."""
        max_cost = None if self.max_cost is None else Decimal(repr(self.max_cost))
        return SpendingLimits(max_requests=self.max_requests, max_cost=max_cost)

    @property
    def max_failures(self) -> int:
        """Failed attempts in a row that end asking.

        By default enough that one request may use all its retries, and that a burst of requests
        which a vendor throttles does not look like a vendor that is down.
        """
        return self.stop_after_failures or max(10, self.retries + 1, 3 * self.concurrency)

    @property
    def account(self) -> str:
        """Whose quota requests use: the vendor's address and where the credential lies."""
        parts = urlsplit(self.url)
        place: object = ""
        if self.auth is not None:
            place = self.auth.env or self.auth.file or " ".join(self.auth.command or ())
        elif self.oauth2 is not None:
            place = self.oauth2.client_id or self.oauth2.client_id_env
        return f"{parts.scheme}://{parts.netloc} {place}"

    def digest(self) -> str:
        """SHA-256 in hex of what is asked and how answers are read.

        Credentials and pace are left out, so that an audit can go on with another key or fewer
        threads and still be the same audit.
        """
        # Files that say nothing in these fields are the ones they were before there were such.
        added = {"refusals": self.refusals, "absent_classes": self.absent_classes}
        left_out = {*_PACE, *(name for name, told in added.items() if not told)}
        document = self.model_dump(mode="json", exclude=left_out)
        return hashlib.sha256(rfc8785.dumps(document)).hexdigest()

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"expected a URL, got one that cannot be read ({error})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("expected http:// or https:// and a host; write the whole address")
        if not url.isascii() or any(character.isspace() for character in url):
            raise ValueError("expected ASCII without blanks; percent-encode the rest")
        if "@" in parts.netloc:
            raise ValueError("expected no user or password in it; name the secret under [auth]")
        if parts.fragment:
            raise ValueError("expected no #fragment in it; leave it out")
        for name, _ in parse_qsl(parts.query, keep_blank_values=True):
            if SECRET_WORD.search(name.lower()):
                raise ValueError(
                    f"expected no secret in it, got the query field {name!r}; name the place of "
                    f"the secret under [auth], with query = {name!r}"
                )
        return url

    @field_validator("headers")
    @classmethod
    def _harmless_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if SECRET_WORD.search(name.lower()):
                raise ValueError(
                    f"expected nothing secret, got {name!r}; name the secret under [auth]"
                )
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"expected no {name!r}: it is set for you; leave it out")
            if not (value.isascii() and value.isprintable()) or value != value.strip():
                raise ValueError(f"expected printable ASCII as {name!r}, got other characters")
        return headers

    @field_validator("class_names", mode="before")
    @classmethod
    def _labels_of_classes(cls, names: Any) -> Any:
        if isinstance(names, list | tuple):
            return _checked_names(tuple(names))
        if isinstance(names, Mapping):
            return _checked_map(names)
        if names is not None:
            raise ValueError(f"expected a list or a table, got {names!r}")
        return None

    @model_validator(mode="after")
    def _one_proof(self) -> "EndpointDescription":
        if self.auth is not None and self.oauth2 is not None:
            raise ValueError("oauth2: expected no [auth] beside it, got both")
        if self.client_certificate is not None and self.url.startswith("http:"):
            raise ValueError(
                "client_certificate: expected none beside a http:// url, which has no TLS"
            )
        return self

    @model_validator(mode="after")
    def _authorities_for_tls(self) -> "EndpointDescription":
        if self.ca_bundle is not None and self.url.startswith("http:"):
            raise ValueError("ca_bundle: expected none beside a http:// url, which has no TLS")
        return self

    @model_validator(mode="after")
    def _secrets_go_to_the_host_of_the_url(self) -> "EndpointDescription":
        # Whoever shares an address with others could let a secret go to one of them.
        if self.has_credentials and any(name.lower() == "host" for name in self.headers):
            raise ValueError(
                "headers: expected no 'Host' beside credentials, which go to the host of the url; "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _money_has_a_currency(self) -> "EndpointDescription":
        is_priced = self.price_per_request > 0 or self.price_per_image > 0
        if is_priced and self.currency is None:
            raise ValueError('currency: expected a code beside a price, such as "USD", got none')
        if self.max_cost is not None and not is_priced:
            raise ValueError("max_cost: expected price_per_request or price_per_image, got neither")
        return self

    @model_validator(mode="after")
    def _no_secret_in_the_clear(self, info: ValidationInfo) -> "EndpointDescription":
        if self.sends_secret_in_the_clear and not (info.context or {}).get(ALLOW_PLAIN_HTTP):
            raise ValueError(
                "url: expected https, got http with credentials to another machine; everyone on "
                "the way could read the secret (--insecure allows it)"
            )
        return self


def is_loopback(url: str) -> bool:
    """Return whether the host of an address is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_names(names: tuple[Any, ...]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"expected labels as non-empty strings, got {name!r}")
    if len(names) < 2:
        raise ValueError(f"expected at least 2 classes, got {len(names)}")
    return names


def _checked_map(names: Mapping[Any, Any]) -> dict[str, int | str]:
    targets = list(names.values())
    kinds = {type(target) for target in targets}
    if len(set(targets)) < 2:
        raise ValueError(f"expected at least 2 classes, got {len(set(targets))}")
    if "" in names or kinds not in ({int}, {str}):
        raise ValueError("expected label = index throughout, or label = name throughout")
    if kinds == {int}:
        # The first gap lies among the first so many, however large the numbers are.
        missing = next((i for i in range(len(targets)) if i not in targets), None)
        if min(targets) < 0 or (missing is not None and missing < max(targets)):
            raise ValueError(
                f"expected every class from 0 to {max(targets)}, got none for {missing}"
            )
    return dict(names)
