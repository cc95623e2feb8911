"""What commands take where an option is left out, and where each value comes from.

The first of these that says something counts::

    option                     --trust owner.pub
    variable                   KINPRINT_TRUST=owner.pub
    the project's file         kinprint.toml in this folder or the nearest one above
    the user's own file        kinprint.toml beside the keys of 'kinprint trust'

A project's file may be a stranger's: it counts only as its user approved it
(`audit.project.approval`). No setting touches the sandbox, gives a secret away, or agrees to a
cost; names in a file are relative to its folder, in a variable to the current one.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from adapters.printable import printable
from adapters.strict_model import FrozenModel
from audit.errors import AuditError
from audit.project.approval import (
    PROJECT_FILE,
    config_folder,
    find_project,
    is_approved,
    read_bytes,
)

PREFIX = "KINPRINT_"
_FILES = ("bundle", "trust", "journal", "auditor_key")

Given = str | float | tuple[str, ...]
"""A value as the command line takes it."""


def _as_many(given: object) -> object:
    """Take one key for a list of one."""
    return (given,) if isinstance(given, str) else given


class Settings(FrozenModel):
    """A ``kinprint.toml``; its names are those of the options."""

    model_config = ConfigDict(strict=False)

    bundle: str | None = None
    """Bundle that is asked with."""
    trust: Annotated[tuple[str, ...], BeforeValidator(_as_many)] = ()
    """Public keys that may have signed."""
    journal: str | None = None
    """Where answers go, and where answers that were paid for are found."""
    auditor_key: str | None = None
    """Key that signs records."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Most requests a second to an endpoint."""
    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Requests that one endpoint may get."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value and who said so."""

    value: Given
    source: str
    """For people: ``variable KINPRINT_TRUST``, or the path of a file."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What holds in a folder."""

    settings: dict[str, Setting]
    """By field of `Settings`; only what somebody said."""
    project: Path | None
    """The nearest project file, whether it counts or not."""
    is_ignored: bool
    """Whether it counts for nothing, because nobody approved it as it is."""


def find_settings(folder: Path, environment: Mapping[str, str]) -> Found:
    """Join variables, the project's file and the user's own.

    Args:
        folder: The current one.
        environment: Variables.

    Raises:
        AuditError: A variable or a file that counts says what is no setting.
    """
    project, own = find_project(folder), config_folder() / PROJECT_FILE
    found = dict[str, Setting]()
    if own.is_file():
        found |= _of_file(own, read_bytes(own))
    data = None if project is None else read_bytes(project)
    counts = project is not None and data is not None and is_approved(project, data)
    if project is not None and data is not None and counts:
        found |= _of_file(project, data)
    return Found(
        settings=found | _of_variables(environment, folder),
        project=project,
        is_ignored=project is not None and not counts,
    )


def parse_settings(path: Path, data: bytes) -> Settings:
    """Parse the bytes of a ``kinprint.toml``.

    Raises:
        AuditError: It is no TOML, or says something that is no setting; names it.
    """
    try:
        fields = tomllib.loads(data.decode())
        return Settings(**{name.replace("-", "_"): value for name, value in fields.items()})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AuditError(f"config: cannot read {printable(str(path))} ({error})") from error
    except ValidationError as error:
        raise _refused(f"config: {path}: ", error) from error


def _of_file(path: Path, data: bytes) -> dict[str, Setting]:
    return _settings(parse_settings(path, data), path.parent, lambda name: str(path))


def _of_variables(environment: Mapping[str, str], folder: Path) -> dict[str, Setting]:
    given = dict[str, object]()
    for name in Settings.model_fields:
        if text := environment.get(PREFIX + name.upper()):
            given[name] = tuple(filter(None, text.split(os.pathsep))) if name == "trust" else text
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise _refused(PREFIX, error, upper=True) from error
    return _settings(settings, folder, lambda name: f"variable {PREFIX}{name.upper()}")


def _settings(settings: Settings, folder: Path, source: Callable[[str], str]) -> dict[str, Setting]:
    def place(name: str, value: Given) -> Given:
        if name not in _FILES or isinstance(value, float | int):
            return value
        if isinstance(value, tuple):
            return tuple(str(folder / Path(each).expanduser()) for each in value)
        return str(folder / Path(value).expanduser())

    return {
        name: Setting(value=place(name, value), source=source(name))
        for name in settings.model_fields_set
        if (value := getattr(settings, name)) not in (None, ())
    }


def _refused(where: str, error: ValidationError, *, upper: bool = False) -> AuditError:
    first = error.errors()[0]
    field = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return AuditError(printable(f"{where}{field}: expected one of {known}"))
    told = f"{where}{field.upper() if upper else field}: {first['msg']}, got {first['input']!r}"
    return AuditError(printable(told))
