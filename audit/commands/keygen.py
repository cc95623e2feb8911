"""``kinprint keygen``: a new pair of signing keys."""

from pathlib import Path

import click


@click.command("keygen", short_help="Make a key pair that signs bundles and records.")
@click.argument("out", metavar="OUT.key", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase that encrypts the key.")
@click.option(
    "--passphrase-env",
    metavar="NAME",
    help="Take the passphrase from this environment variable.",
)
def command(out: Path, passphrase: bool, passphrase_env: str | None) -> None:
    """Write a new Ed25519 key to OUT.key (mode 0600) and its public half to OUT.pub.

    Files that exist are never overwritten. The key id goes to standard output. Nobody trusts the
    key yet, this machine included: hand OUT.pub to the auditors.
    """
    from audit.signing.keys import PrivateKey, write_key_pair

    secret = _passphrase(passphrase, passphrase_env)
    key = PrivateKey.generate()
    public_path = write_key_pair(out, key, secret)
    click.echo(key.public_key.key_id)
    click.echo(f"private key: {out} (keep it; whoever has it signs in your name)", err=True)
    click.echo(f"public key:  {public_path} (hand it to the auditors)", err=True)
    click.echo(
        f"To trust it, an auditor gives --trust {public_path.name}, or for good: kinprint trust "
        f"add {public_path.name}",
        err=True,
    )


def _passphrase(is_asked: bool, variable: str | None) -> str | None:
    import os

    if is_asked and variable is not None:
        raise click.UsageError("--passphrase and --passphrase-env exclude each other")
    if is_asked:
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise click.UsageError(f"--passphrase-env: {variable} is not set, or empty")
    return value
