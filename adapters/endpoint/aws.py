"""Signs requests to Amazon's services with botocore (Signature Version 4), and reads their errors.

The keys come from environment variables or a private file that the endpoint file names; botocore's
own search for credentials is used only where the endpoint file names a profile. All of them have to
be granted for the host. botocore is an optional dependency (``kinprint[aws]``).
"""

import configparser
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from adapters.endpoint.description import EndpointDescription
from adapters.endpoint.local_access import LocalAccess
from adapters.endpoint.masking import MASK, masked
from adapters.endpoint.secrets import Credential, Variable
from adapters.endpoint.wire_format import AskAgainError, WireRequest
from adapters.extras import require
from adapters.printable import excerpt
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError, SuspectUnreachableError

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "ThrottledException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "ModelNotReadyException",
    }
)
_NOT_LET_IN = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class AwsTable(FrozenModel):
    """The table ``[aws]``: region, and where the keys lie."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    """Such as ``eu-west-1``; it is part of the signature."""
    access_key_id_env: Variable = "AWS_ACCESS_KEY_ID"
    """Environment variable with the id of the access key."""
    secret_access_key_env: Variable = "AWS_SECRET_ACCESS_KEY"
    """Environment variable with the key itself."""
    session_token_env: Variable = "AWS_SESSION_TOKEN"
    """Environment variable with the token of temporary keys; may be unset."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """File (mode 0600) in the form of ``~/.aws/credentials`` instead of the variables."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """Profile that botocore looks up where it usually does, instead of variables and file."""

    @model_validator(mode="after")
    def _one_place(self) -> "AwsTable":
        if self.file is not None and self.profile is not None:
            raise ValueError("expected one of file and profile, got both")
        return self


class AwsDescription(EndpointDescription):
    """An endpoint of one of Amazon's services."""

    aws: AwsTable

    @property
    def has_credentials(self) -> bool:
        """Every request is signed."""
        return True

    @property
    @abstractmethod
    def service(self) -> str:
        """Return the name that the signature carries."""

    def credential(self, access: LocalAccess) -> Credential | None:
        """Fetch the keys."""
        return aws_credential(self.aws, self.service, access)

    @model_validator(mode="after")
    def _signed_instead(self) -> "AwsDescription":
        if self.auth is not None or self.oauth2 is not None:
            raise ValueError("auth: expected none, requests are signed; see [aws]")
        return self


@dataclass(frozen=True, kw_only=True)
class AwsCredential:
    """Keys for one region and service; prints without them."""

    service: str
    region: str
    _keys: "Credentials" = field(repr=False)

    def headers_for(self, request: WireRequest) -> Mapping[str, str]:
        """Return the headers of Signature Version 4, with the time of now."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        signed = AWSRequest(
            method=request.method,
            url=request.url,
            headers=dict(request.headers),
            data=request.body,
        )
        SigV4Auth(self._keys.get_frozen_credentials(), self.service, self.region).add_auth(signed)
        return {
            name: value for name, value in signed.headers.items() if name not in request.headers
        }

    def shown_headers(self) -> dict[str, str]:
        """Return the header that carries the signature, without it."""
        return {"Authorization": f"AWS4-HMAC-SHA256 {MASK}"}

    def mask(self, text: str) -> str:
        """Return ``text`` without keys and token."""
        keys = self._keys.get_frozen_credentials()
        return masked(text, (keys.secret_key, keys.access_key, keys.token or ""))


def aws_credential(table: AwsTable, service: str, access: LocalAccess) -> AwsCredential:
    """Fetch the keys that an endpoint file names.

    Args:
        table: The file's table ``[aws]``.
        service: Name that the signature carries, such as ``sagemaker``.
        access: Reads them, if that is granted.

    Raises:
        NotGrantedError: Nobody allowed them for this host.
        SuspectConfigError: botocore or a key is missing.
    """
    require("botocore", by="aws: signing requests", error=SuspectConfigError)
    from botocore.credentials import Credentials

    use = "to sign requests"
    keys: Credentials
    if table.profile is not None:
        keys = _from_profile(access.profile(table.profile, use))
    elif table.file is not None:
        place = f"aws.file: expected keys in {table.file}"
        keys = Credentials(*_from_file(access.private_text(table.file, use, place), place))
    else:
        names = (table.access_key_id_env, table.secret_access_key_env, table.session_token_env)
        key_id, key, token = (value.strip() for value in access.variables(names, use))
        for field_name, variable, value in (
            ("access_key_id_env", table.access_key_id_env, key_id),
            ("secret_access_key_env", table.secret_access_key_env, key),
        ):
            if not value:
                raise SuspectConfigError(
                    f"aws.{field_name}: expected a key in the environment variable {variable}, "
                    "got nothing; set it and start again"
                )
        keys = Credentials(key_id, key, token or None)
    return AwsCredential(service=service, region=table.region, _keys=keys)


def aws_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
    """Say what an error of Amazon's JSON services means: its type counts, not its status.

    Args:
        status: Of the answer; throttling comes as 400, too.
        headers: Of the answer.
        body: Of the answer.

    Returns:
        What to raise; None where the status says enough.

    Source:
        AWS JSON 1.1 and REST JSON protocols: ``__type`` in the body or ``x-amzn-ErrorType``.
    """
    name = _error_type(headers, body)
    found = f"status {status} ({name}: {excerpt(body)})"
    if name in _THROTTLED:
        return AskAgainError(found, is_throttled=True)
    if name in _NOT_LET_IN:
        return SuspectUnreachableError(
            f"aws: expected to be let in, got {found}; check the keys, their rights, the region "
            "and this machine's clock"
        )
    return None


def _error_type(headers: Mapping[str, str], body: bytes) -> str:
    name: Any = headers.get("x-amzn-ErrorType", "")
    if not name:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return ""
        name = document.get("__type", "") if isinstance(document, dict) else ""
    # "com.amazonaws.rekognition#ThrottlingException", "ThrottlingException:http://..."
    return str(name).rpartition("#")[2].partition(":")[0]


def _from_profile(profile: str) -> "Credentials":
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        keys = Session(profile=profile).get_credentials()
    except BotoCoreError as error:
        raise SuspectConfigError(
            f"aws.profile: expected keys in the profile {profile}, got {error}"
        ) from error
    if keys is None:
        raise SuspectConfigError(f"aws.profile: expected keys in the profile {profile}, got none")
    return keys


def _from_file(text: str, place: str) -> tuple[str, str, str | None]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        raise SuspectConfigError(
            f"{place}, got no file in the form of ~/.aws/credentials"
        ) from None
    sections = parser.sections()
    if len(sections) != 1:
        raise SuspectConfigError(f"{place} in one section, got {len(sections)} sections")
    section = parser[sections[0]]
    for key in ("aws_access_key_id", "aws_secret_access_key"):
        if not section.get(key):
            raise SuspectConfigError(f"{place}, got no {key} in it")
    return (
        section["aws_access_key_id"],
        section["aws_secret_access_key"],
        section.get("aws_session_token") or None,
    )
