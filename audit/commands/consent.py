"""Before an endpoint file uses something of this machine: a yes of the user for that very host.

On a terminal the question is asked once, and a yes is remembered. Elsewhere nobody is there to
ask, and what the user has not allowed is an error that names the option which allows it.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from adapters.printable import printable

if TYPE_CHECKING:
    from adapters.endpoint.grants import Need

Opened = TypeVar("Opened")

allow_option = click.option(
    "--allow",
    "allow",
    metavar="GRANT",
    multiple=True,
    help="Let endpoint files use this, this time: env:NAME@HOST, file:PATH@HOST, "
    "profile:NAME@HOST, cmd:WORDS@HOST or address:HOST (docs/endpoints.md); repeatable.",
)


def opened_with_consent(
    path: Path, allow: Sequence[str], opens: Callable[[Sequence[str]], Opened]
) -> Opened:
    """Open an endpoint, and ask the user for what its file wants to use besides.

    Args:
        path: The endpoint file.
        allow: What is allowed for this run.
        opens: Opens it, with what is allowed for this run.

    Raises:
        NotGrantedError: It wants more, and nobody is there to ask.
        click.ClickException: The user said no; nothing was used or sent.
    """
    from adapters.endpoint.grants import NotGrantedError

    while True:
        try:
            return opens(allow)
        except NotGrantedError as error:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            _ask(path, error.needs)
            allow = [*allow, *(str(need.grant) for need in error.needs)]


def _ask(path: Path, needs: Sequence["Need"]) -> None:
    from audit.errors import AuditError
    from audit.suspects.allow_list import allow_list_path, remember_grants

    click.echo(f"{printable(path.name)} wants to use", err=True)
    for need in needs:
        click.echo(f"  {need.told}", err=True)
    if not click.confirm("Allow that, now and from now on?", default=False, err=True):
        raise click.ClickException("not allowed; nothing of it was used and nothing was sent")
    try:
        remember_grants(need.grant for need in needs)
    except AuditError as error:
        click.echo(f"only allowed this time: {error}", err=True)
    else:
        click.echo(f"remembered in {allow_list_path()}", err=True)
