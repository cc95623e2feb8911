"""``kinprint trust``: whose bundles and records count on this machine."""

from pathlib import Path

import click

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("trust", short_help="Trust keys for good, list them, take them out.")
def command() -> None:
    """Keep the public keys of owners and auditors that you trust.

    What they signed counts in every command, without --trust. Take a key from its holder, not from
    the folder in which you found the bundle.
    """


@command.command("add")
@click.argument("path", metavar="KEY.pub", type=_EXISTING)
@click.option("--name", help="What to call it here; by default as the file.")
def add(path: Path, name: str | None) -> None:
    """Trust KEY.pub from now on."""
    from audit.signing.openssh import is_openssh_public_key, openssh_fingerprint
    from audit.signing.trusted_keys import trust_key

    kept = trust_key(path, name)
    click.echo(kept.key.key_id)
    if is_openssh_public_key(path.read_bytes()):
        click.echo(f"OpenSSH calls it {openssh_fingerprint(kept.key.raw)}", err=True)
    click.echo(
        f"trusted as {kept.path.stem}; compare the id above with what its holder tells you, by "
        "voice or on paper",
        err=True,
    )


@command.command("list")
def list_keys() -> None:
    """List the trusted keys: id and name."""
    from adapters.printable import printable
    from audit.signing.keys import trusted_folder
    from audit.signing.trusted_keys import trusted_keys

    known = trusted_keys()
    for one in known:
        click.echo(f"{one.key.key_id}  {printable(one.path.stem)}")
    if not known:
        click.echo(f"No key is trusted ({trusted_folder()} has none).", err=True)


@command.command("remove")
@click.argument("key", metavar="NAME-OR-ID")
def remove(key: str) -> None:
    """Trust a key no more; records and bundles that it signed stay as they are."""
    from adapters.printable import printable
    from audit.signing.trusted_keys import distrust_key

    gone = distrust_key(key)
    click.echo(f"no longer trusted: {gone.key.key_id} ({printable(gone.path.stem)})", err=True)
