"""What a user lets endpoint files use of this machine, and for which host.

An endpoint file may come from anybody. It names variables, private files and profiles, and the
address that gets what is in them: so nothing of it is used that the user has not allowed for that
very host. Whoever opens an endpoint hands the user's grants down; without any, nothing is granted.
Where grants are kept, and who is asked for them, is none of this layer's business.

A grant is written as ``--allow`` takes it: ``env:NAME@HOST``, ``file:PATH@HOST``,
``profile:NAME@HOST``, ``cmd:WORDS@HOST`` or ``address:HOST``. ``@HOST`` is short for
``@https://HOST``; a port stands behind it where it is not the usual one.
"""

import ipaddress
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from adapters.printable import printable
from adapters.suspect import SuspectConfigError

_USUAL_PORTS = {"http": 80, "https": 443}
_SYNTAX = "env:NAME@HOST, file:PATH@HOST, profile:NAME@HOST, cmd:WORDS@HOST or address:HOST"


class GrantKind(StrEnum):
    """What may be used."""

    ENV = "env"
    """An environment variable."""
    FILE = "file"
    """A file: a secret, or the authorities that vouch for the server."""
    PROFILE = "profile"
    """A profile of Amazon's settings, which may run a command of the user's."""
    COMMAND = "cmd"
    """A command of the user's that prints a token: whole path of the program and all words."""
    ADDRESS = "address"
    """A host whose address is not one of the internet's."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One thing of this machine, and the host that may get it."""

    kind: GrantKind
    name: str
    """Variable; absolute path without links; profile; command as a shell reads it; or for an
    address its host."""
    origin: str = ""
    """Who gets it, as `origin_of` writes it; empty for an address."""

    def __str__(self) -> str:
        """Return it as ``--allow`` takes it."""
        if self.kind is GrantKind.ADDRESS:
            return f"{self.kind}:{self.name}"
        return f"{self.kind}:{self.name}@{self.origin.removeprefix('https://')}"


Grants = frozenset[Grant]
NOTHING: Grants = frozenset()


@dataclass(frozen=True, kw_only=True)
class Need:
    """A grant that an endpoint file needs, and what becomes of it."""

    grant: Grant
    use: str
    """Such as ``in the header X-Key``."""

    @property
    def told(self) -> str:
        """Say for people what would be used how; never what is in it."""
        name, origin = self.grant.name, self.grant.origin
        told = {
            GrantKind.ENV: f"the environment variable {name} for {origin}, {self.use}",
            GrantKind.FILE: f"the file {name} for {origin}, {self.use}",
            GrantKind.PROFILE: f"the AWS profile {name} for {origin}, {self.use}",
            GrantKind.COMMAND: f"the output of the command {name} for {origin}, {self.use}",
            GrantKind.ADDRESS: f"a connection to {name}, {self.use}",
        }
        return printable(told[self.grant.kind])


class NotGrantedError(SuspectConfigError):
    """An endpoint file wants to use what nobody allowed; nothing of it was used."""

    def __init__(self, message: str, needs: tuple[Need, ...] = ()) -> None:
        super().__init__(message)
        self.needs = needs
        """What has to be allowed."""


def require_granted(needs: Sequence[Need], grants: Grants) -> None:
    """Pass if everything is granted.

    Raises:
        NotGrantedError: Something is not; the message names the options that allow it.
    """
    missing = tuple(need for need in needs if need.grant not in grants)
    if missing:
        told = "; ".join(need.told for need in missing)
        options = " ".join(f"--allow {shlex.quote(printable(str(need.grant)))}" for need in missing)
        raise NotGrantedError(
            f"allow: expected your leave to use {told}, got none; if that is right, give {options}",
            missing,
        )


def origin_of(url: str) -> str:
    """Return who gets the requests to a URL, always written in the same way.

    Example:
        >>> origin_of("https://API.vendor.example:443/v1?team=blue")
        'https://api.vendor.example'
        >>> origin_of("http://[::1]:8000/")
        'http://[::1]:8000'

    Raises:
        ValueError: The port is no number.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    is_usual = parts.port in (None, _USUAL_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{shown}" + ("" if is_usual else f":{parts.port}")


def parse_grant(text: str) -> Grant:
    """Read a grant as it is written.

    Example:
        >>> print(parse_grant("env:VENDOR_KEY@https://API.vendor.example/"))
        env:VENDOR_KEY@api.vendor.example
        >>> print(parse_grant("file:/run/secrets/k@http://127.0.0.1:8000"))
        file:/run/secrets/k@http://127.0.0.1:8000

    Raises:
        SuspectConfigError: It is written in another way.
    """
    wrong = SuspectConfigError(f"allow: expected {_SYNTAX}, got {printable(text)!r}")
    word, _, rest = text.partition(":")
    try:
        kind = GrantKind(word)
        if kind is GrantKind.ADDRESS:
            return Grant(kind=kind, name=_host(rest))
        name, _, place = rest.rpartition("@")
        url = urlsplit(place if "://" in place else f"https://{place}")
        is_origin = url.scheme in _USUAL_PORTS and url.hostname and url.path in ("", "/")
        if not name or not is_origin or url.query or url.fragment:
            raise wrong
        origin = origin_of(url.geturl())
    except ValueError:
        raise wrong from None
    if kind is GrantKind.FILE and not os.path.isabs(name):
        raise SuspectConfigError(
            f"allow: expected the whole path of a file, got {printable(name)!r}"
        )
    if kind is GrantKind.COMMAND and not os.path.isabs(name.lstrip("'")):
        raise SuspectConfigError(
            f"allow: expected a command with the whole path of its program, got {printable(name)!r}"
        )
    return Grant(kind=kind, name=name, origin=origin)


def typed_grants(texts: Iterable[str]) -> Grants:
    """Read grants that a user typed: files from the folder they are in, links followed now.

    Raises:
        SuspectConfigError: One is written in another way.
    """
    return frozenset(_typed_grant(text) for text in texts)


def _typed_grant(text: str) -> Grant:
    word, _, rest = text.partition(":")
    name, at, place = rest.rpartition("@")
    if word == GrantKind.FILE and name:
        path = os.path.realpath(Path(name).expanduser())
        return parse_grant(f"{word}:{path}{at}{place}")
    return parse_grant(text)


def _host(text: str) -> str:
    """Return a host as URLs name it: without brackets, in small letters.

    Raises:
        ValueError: There is more than a host.
    """
    host = text.removeprefix("[").removesuffix("]").lower()
    if ":" in host:
        ipaddress.IPv6Address(host)
    elif not host or urlsplit(f"//{host}").hostname != host:
        raise ValueError("more than a host")
    return host
