"""A pasted curl command read as the request that it would send; nothing is run or sent.

The command is taken apart as a POSIX shell would, ``$'...'`` included, without expanding anything:
``$VENDOR_KEY`` in it names the variable that holds the secret.

Source: curl's manual page, options as of curl 8.
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from adapters.endpoint.description import SECRET_WORD
from adapters.endpoint.written_secrets import is_secret_field
from audit.endpoint.known_request import (
    KnownAuth,
    KnownBody,
    KnownRequest,
    json_body,
    secret_left,
    variable_for,
    without_secret_query,
)
from audit.errors import AuditError

_ANSI_QUOTED = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ANSI_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_SHORT_WITH_VALUE = "XHdFuTbAemExoKDwcCyYztrQUP"
_DATA = ("data", "data-raw", "data-ascii", "data-binary", "data-urlencode", "json")
_WITH_VALUE = {
    *_DATA,
    *("request", "header", "form", "form-string", "user", "url", "upload-file", "cookie"),
    *("user-agent", "referer", "max-time", "connect-timeout", "cacert", "cert", "key", "output"),
    *("oauth2-bearer", "proxy", "retry", "write-out", "resolve", "cert-type", "key-type", "pass"),
    *("aws-sigv4", "limit-rate", "retry-delay", "dump-header", "cookie-jar", "interface", "range"),
    *("config", "quote", "proxy-user", "tls-max", "ciphers", "continue-at", "speed-limit"),
}
_LONG = {
    **{"X": "request", "H": "header", "d": "data", "F": "form", "u": "user", "T": "upload-file"},
    **{"b": "cookie", "A": "user-agent", "e": "referer", "m": "max-time", "E": "cert"},
    **{"x": "proxy", "o": "output", "G": "get", "k": "insecure", "K": "config"},
}
_NEVER_KEPT = re.compile(
    r"^(host|content-length|user-agent|accept-encoding|connection|accept-language|origin|referer"
    r"|pragma|cache-control|dnt|te|priority|expect|sec-.*|x-requested-with)$"
)
_TOO_MUCH = re.compile(r"^x-amz-", re.IGNORECASE)
MAX_CHARACTERS = 32 << 20


@dataclass(kw_only=True)
class _Command:
    """The options that matter."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    upload: str | None = None
    certificate: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_curl(text: str) -> KnownRequest:
    """Read a curl command.

    Args:
        text: As one pastes it, from a shell, an API's page or a browser.

    Raises:
        AuditError: It is no curl command, or one whose request carries no image.
    """
    command = _parsed(_words(text))
    method = command.method or ("PUT" if command.upload is not None else "POST")
    has_body = bool(command.data or command.forms or command.upload is not None)
    if not has_body or method not in ("POST", "PUT"):
        raise AuditError(
            "curl: expected a request that sends an image in its body, got "
            f"{command.method or 'GET'}{'' if has_body else ' without a body'}; an endpoint is "
            "asked with POST or PUT"
        )
    url, secret_fields = without_secret_query(command.url)
    if urlsplit(url).scheme not in ("http", "https"):
        raise AuditError("curl: expected an address that begins with https:// or http://")
    auth, headers = _auth(command, url, secret_fields)
    return KnownRequest(
        made_from="a curl command",
        url=url,
        method=method,
        auth=auth,
        client_certificate=command.certificate if "certificate" in command.certificate else {},
        headers=headers,
        notes=tuple(command.notes),
        body=_body(command),
    )


def _words(text: str) -> list[str]:
    if len(text) > MAX_CHARACTERS:
        raise AuditError(f"curl: expected a command, got more than {MAX_CHARACTERS >> 20} MiB")

    def plain(found: re.Match[str]) -> str:
        undone = re.sub(
            r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))",
            lambda part: (
                chr(int(part[1] or part[2], 16))
                if part[1] or part[2]
                else _ANSI_ESCAPES.get(part[3], part[3])
            ),
            found[1],
            flags=re.DOTALL,
        )
        return shlex.quote(undone)

    text = re.sub(r"\\\r?\n", " ", text.strip())
    text = re.sub(r"^\$\s+", "", text)
    try:
        words = shlex.split(_ANSI_QUOTED.sub(plain, text))
    except ValueError as error:
        raise AuditError(f"curl: expected a whole command, got a mistake: {error}") from None
    if not words or words[0].rpartition("/")[2] not in ("curl", "curl.exe"):
        raise AuditError("curl: expected a command that begins with curl")
    return words[1:]


def _parsed(words: Sequence[str]) -> _Command:
    command, queue = _Command(), list(words)
    while queue:
        word = queue.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            if name in _WITH_VALUE:
                _take(command, name, value if equals else _next(queue, f"--{name}"))
            else:
                _take(command, name, "")
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                name = _LONG.get(letter, letter)
                if letter in _SHORT_WITH_VALUE:
                    _take(command, name, letters or _next(queue, f"-{letter}"))
                    break
                _take(command, name, "")
        else:
            _take(command, "url", word)
    if not command.url:
        raise AuditError("curl: expected an address in the command, got none")
    return command


def _next(queue: list[str], option: str) -> str:
    if not queue:
        raise AuditError(f"curl: expected a value after {option}, got nothing")
    return queue.pop(0)


def _take(command: _Command, name: str, value: str) -> None:
    match name:
        case "url":
            if command.url:
                raise AuditError("curl: expected one address in the command, got several")
            scheme, _, rest = (value if "://" in value else f"http://{value}").partition("://")
            place, slash, tail = rest.partition("/")
            user, at, host = place.rpartition("@")
            command.url = f"{scheme}://{host}{slash}{tail}"
            if at:
                _take(command, "user", user)
        case "request":
            command.method = value.upper()
        case "header":
            title, _, content = value.partition(":")
            command.headers.append((title.strip(), content.strip()))
        case "json":
            command.data.append(value)
        case "data-urlencode" | "get":
            raise AuditError(
                f"curl: expected an image in the body, got --{name}, which puts it elsewhere"
            )
        case "aws-sigv4":
            raise AuditError(
                "curl: signed requests have formats of their own; begin with: kinprint endpoint "
                "new sagemaker"
            )
        case "config":
            raise AuditError("curl: expected the whole command, got one with --config")
        case "form" | "form-string":
            command.forms.append(value)
        case "upload-file":
            command.upload = value
        case "user":
            command.headers.append(("Authorization", f"Basic {value}"))
            command.notes.append(
                "The variable holds USER:PASSWORD in base64: printf %s 'USER:PASSWORD' | base64"
            )
        case "oauth2-bearer":
            command.headers.append(("Authorization", f"Bearer {value}"))
        case "cookie":
            command.headers.append(("Cookie", value))
        case "insecure":
            command.notes.append(
                "The command does not verify the server's certificate; Kinprint always does. Name "
                "a private authority as ca_bundle."
            )
        case "cacert":
            command.notes.append("Name the file of --cacert as ca_bundle.")
        case "cert":
            file, colon, _ = value.partition(":")
            command.certificate["certificate"] = file
            if colon:  # what follows is the passphrase
                command.certificate["passphrase_env"] = "CLIENT_KEY_PASSPHRASE"
        case "key":
            command.certificate["key"] = value
        case "pass":
            command.certificate["passphrase_env"] = "CLIENT_KEY_PASSPHRASE"
        case name if name in _DATA:
            command.data.append(value)


def _auth(
    command: _Command, url: str, secret_fields: list[tuple[str, str]]
) -> tuple[KnownAuth | None, dict[str, str]]:
    """Part what is secret from what is not; of several secrets the first one stays."""
    found: list[tuple[str, KnownAuth]] = []
    headers: dict[str, str] = {}
    for name, value in command.headers:
        if _TOO_MUCH.match(name):
            command.notes.append(f"Left out: the header {name}, which belongs to one request.")
        elif name.lower() == "cookie":
            crumb, _, rest = value.partition("=")
            is_one = ";" not in value and bool(re.fullmatch(r"[\w.-]+", crumb, re.ASCII))
            env = variable_for(url, rest if is_one else value)
            kept = KnownAuth(env=env, cookie=crumb) if is_one else KnownAuth(env=env, header=name)
            found.append(("the cookie", kept))
        elif SECRET_WORD.search(name.lower()):
            scheme, _, rest = value.rpartition(" ")
            is_scheme = bool(re.fullmatch(r"[A-Za-z0-9-]+", scheme))
            env = variable_for(url, rest if is_scheme else value)
            known = KnownAuth(env=env, header=_title(name), scheme=scheme if is_scheme else "")
            found.append((f"the header {name}", known))
        elif not _NEVER_KEPT.match(name.lower()) and value not in ("*/*", "application/json"):
            headers[name] = value
    for name, value in secret_fields:
        found.append(
            (f"the query field {name}", KnownAuth(env=variable_for(url, value), query=name))
        )
    # Whoever proves who asks does it there.
    found.sort(key=lambda each: each[1].header != "Authorization")
    for place, _ in found[1:]:
        command.notes.append(f"Left out: {place}, since an endpoint file sends one secret.")
    kinds = r"multipart/form-data.*|image/.*|application/x-www-form-urlencoded"
    kept_headers = {
        name: value
        for name, value in headers.items()
        if not (name.lower() == "content-type" and re.match(kinds, value))
    }
    return (found[0][1] if found else None), kept_headers


def _title(name: str) -> str:
    return "Authorization" if name.lower() == "authorization" else name


def _body(command: _Command) -> KnownBody:
    if command.forms:
        return _form(command)
    if command.upload is not None:
        return KnownBody()
    text = "&".join(command.data)
    if text.startswith("@"):
        if not text.endswith(".json"):
            return KnownBody()  # the image file itself
        command.notes.append(f"The body of the command lies in {text[1:]}; paste it instead.")
        return json_body({})
    try:
        return json_body(json.loads(text))
    except ValueError:
        pairs = parse_qsl(text)
        raise AuditError(
            "curl: expected a body that is JSON, a form (-F) or a file (--data-binary @FILE), got "
            f"{'a form in the body' if pairs else 'another text'}"
        ) from None


def _form(command: _Command) -> KnownBody:
    files, form = [], {}
    for each in command.forms:
        name, _, value = each.partition("=")
        if value.startswith(("@", "<")):
            files.append(name)
        elif is_secret_field(name):
            form[name] = secret_left(name)
        else:
            form[name] = value.partition(";type=")[0]
    if len(files) != 1:
        raise AuditError(f"curl: expected one file in the form, got {len(files)}")
    return KnownBody(multipart=files[0], form=form)
