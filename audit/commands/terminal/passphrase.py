"""Passphrases come from the environment, never from the command line."""

import os

import click


def passphrase_from(variable: str | None) -> str | None:
    """Return the passphrase in an environment variable; None if none was named.

    Raises:
        click.UsageError: The variable is not set, or empty.
    """
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise click.UsageError(f"--passphrase-env: {variable} is not set, or empty")
    return value
