"""``kinprint completion``: the script by which a shell completes commands, options and files."""

import click

VARIABLE = "_KINPRINT_COMPLETE"
"""By which the shell's script asks; click answers."""


@click.command("completion", short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script for SHELL; docs/settings.md says where it goes."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these shells"
    click.echo(found(ctx.find_root().command, {}, "kinprint", VARIABLE).source())
