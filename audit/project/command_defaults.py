"""Settings as the command line takes them: defaults of the options of the same names."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audit.project.settings import Given

BUNDLES = "bundle_paths"
"""Argument of ``kinprint audit``."""
_ONLY_TRUST = ("sweep",)
"""Commands whose other options of these names mean something else: a record for each pair."""


def command_defaults(command: click.Command, values: Mapping[str, "Given"]) -> dict[str, Any]:
    """Return a default map (click's) for a command and the commands below it.

    Args:
        command: Whose options are filled.
        values: By the option's name without dashes in front, ``-`` written as ``_``.
    """
    if isinstance(command, click.Group):
        return {name: command_defaults(below, values) for name, below in command.commands.items()}
    if command.name in _ONLY_TRUST:
        values = {name: value for name, value in values.items() if name == "trust"}
    found = dict[str, Any]()
    for one in command.params:
        if isinstance(one, click.Argument):
            # Of the arguments only audit's: others name a bundle to look at or to change.
            if one.name == BUNDLES and "bundle" in values:
                found[BUNDLES] = values["bundle"]
            continue
        for option in one.opts:
            name = option.removeprefix("--").replace("-", "_")
            if option.startswith("--") and name in values:
                assert one.name is not None
                found[one.name] = values[name]
    return found


def default_bundle() -> tuple[Path, ...]:
    """Return what the settings say for `BUNDLES` of the running command, if anything.

    Click itself takes no default for an argument that may be repeated.

    Raises:
        click.UsageError: There is no such file.
    """
    given = click.get_current_context().lookup_default(BUNDLES)
    if not isinstance(given, str):
        return ()
    path = Path(given)
    if not path.is_file():
        raise click.UsageError(
            f"bundle: there is no file {path}; 'kinprint config' says who names it"
        )
    return (path,)


def is_by_default(name: str) -> bool:
    """Return whether the running command has a parameter from the settings, not from its user."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.DEFAULT_MAP
