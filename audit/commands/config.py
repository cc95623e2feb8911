"""``kinprint config``: what commands take where an option is left out, and who says so."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from audit.project.settings import Given


@click.group("config", invoke_without_command=True, short_help="Show settings and their sources.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show each setting, its value and where it comes from.

    An option counts before a variable (KINPRINT_TRUST and so on), a variable before the project's
    kinprint.toml, which is looked for in this folder and above, and that before your own. A
    project's file counts once you have allowed it.
    """
    if ctx.invoked_subcommand is not None:
        return
    from adapters.printable import printable
    from audit.project.approval import PROJECT_FILE, config_folder
    from audit.project.settings import PREFIX, Settings, find_settings

    found = find_settings(Path.cwd(), os.environ)
    for name in Settings.model_fields:
        one, title = found.settings.get(name), name.replace("_", "-")
        said = f"-  ({PREFIX}{name.upper()})"
        if one is not None:
            said = f"{_shown(one.value)}  ({one.source})"
        click.echo(printable(f"{title:<13} {said}"))
    click.echo()
    click.echo(printable(f"project file  {_state(found.project, is_ignored=found.is_ignored)}"))
    click.echo(printable(f"your own      {config_folder() / PROJECT_FILE}"))


@command.command("allow")
def allow() -> None:
    """Let the project's file count, as it is now.

    A later change of it, or of a key that it trusts, takes this back.
    """
    from adapters.printable import printable
    from audit.project.approval import approve, read_bytes
    from audit.project.settings import parse_settings
    from audit.signing.keys import load_public_key

    path = _project()
    data = read_bytes(path)
    settings = parse_settings(path, data)
    # Before anything is kept: a key that is none would count for nothing later, without a word.
    keys = [
        (each, load_public_key(path.parent / Path(each).expanduser())) for each in settings.trust
    ]
    approve(path, data)
    for name in sorted(settings.model_fields_set - {"trust"}):
        title = name.replace("_", "-")
        click.echo(printable(f"{title:<13} {_shown(getattr(settings, name))}"))
    for each, key in keys:
        click.echo(printable(f"trust         {each}  {key.key_id}"))
    click.echo(
        printable(
            f"allowed: {path}; compare the ids of keys with what their holders tell you, by voice "
            "or on paper"
        ),
        err=True,
    )


@command.command("forget")
def forget() -> None:
    """Let the project's file count no more."""
    from adapters.printable import printable
    from audit.project.approval import disapprove

    path = _project()
    was_allowed = disapprove(path)
    told = "counts no more" if was_allowed else "was not allowed"
    click.echo(printable(f"{path} {told}"), err=True)


def _project() -> Path:
    from audit.errors import AuditError
    from audit.project.approval import PROJECT_FILE, find_project

    path = find_project(Path.cwd())
    if path is None:
        raise AuditError(f"config: there is no {PROJECT_FILE} in this folder or above")
    return path


def _state(project: Path | None, *, is_ignored: bool) -> str:
    if project is None:
        return "-"
    return f"{project}{', NOT allowed: it counts for nothing' if is_ignored else ', allowed'}"


def _shown(value: "Given") -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
