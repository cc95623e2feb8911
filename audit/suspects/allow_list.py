"""What the user has allowed endpoint files to use, remembered beside the trusted keys.

One JSON file that only its user can write; its entries are those of ``--allow``. Taking a line out
takes the leave back. A damaged file is told and allows nothing.
"""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from adapters.endpoint.grants import NOTHING, Grant, Grants, parse_grant
from adapters.printable import printable
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError
from audit.atomic_file import write_atomically
from audit.errors import AuditError
from audit.signing.keys import trusted_folder

ALLOWED_FILE = "allowed.json"
MAX_BYTES = 1 << 20


class _AllowList(FrozenModel):
    """The file."""

    format: Literal["kinprint-allowed"] = "kinprint-allowed"
    format_version: Literal[1] = 1
    allowed: list[str]


def allow_list_path() -> Path:
    """Return where this user's file lies; it need not exist."""
    return trusted_folder().parent / ALLOWED_FILE


def load_grants(path: Path | None = None) -> Grants:
    """Return what the user has allowed; nothing if there is no file.

    Args:
        path: Instead of `allow_list_path`.

    Raises:
        AuditError: The file cannot be read, others can write it, or it is damaged.
    """
    path = allow_list_path() if path is None else path
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except OSError as error:
        raise AuditError(f"allow: cannot read {path}: {error.strerror}") from error
    if os.name == "posix" and mode & 0o022:
        raise AuditError(
            f"allow: expected {path} that only you can write, got mode {mode:04o}; look at what it "
            "allows, then chmod 600 it"
        )
    try:
        allowed = _AllowList.model_validate_json(data).allowed
        # As they stand: a link that lies there by now is not what was allowed.
        return frozenset(parse_grant(text) for text in allowed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise AuditError(
            f"allow: expected a list of grants in {path}, got a mistake: {first['msg']}"
        ) from error
    except SuspectConfigError as error:
        raise AuditError(f"{error} ({path})") from error


def remember_grants(grants: Iterable[Grant], path: Path | None = None) -> None:
    """Allow this from now on, besides what was allowed before.

    Two that answer at the same moment may forget one answer, which is then asked for again.

    Args:
        grants: What the user said yes to.
        path: Instead of `allow_list_path`.

    Raises:
        AuditError: The file cannot be written, or it is damaged.
    """
    path = allow_list_path() if path is None else path
    grants = frozenset(grants)
    for grant in grants:
        if parse_grant(str(grant)) != grant:  # a damaged file would allow nothing any more
            raise AuditError(f"allow: cannot write down {printable(str(grant))!r}")
    allowed = sorted(str(grant) for grant in load_grants(path) | grants)
    text = json.dumps(_AllowList(allowed=allowed).model_dump(), indent=2, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [f"{text}\n".encode()], mode=0o600)
    except (OSError, UnicodeEncodeError) as error:
        raise AuditError(f"allow: cannot write {path}: {error}") from error
