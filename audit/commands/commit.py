"""``kinprint commit``: sign the digest to publish when a model is released."""

from pathlib import Path

import click

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("commit", short_help="Sign a bundle's digest, to publish before any suspect.")
@click.argument("bundle_path", metavar="BUNDLE", type=_EXISTING)
@click.option("--key", "key_path", metavar="OWNER.key", required=True, type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--timestamp-url", metavar="URL", help="Get an RFC 3161 timestamp there.")
@click.option(
    "-o",
    "--output",
    metavar="OUT.kincommit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the commitment goes; by default beside the bundle.",
)
def command(
    bundle_path: Path,
    key_path: Path,
    passphrase_env: str | None,
    timestamp_url: str | None,
    output: Path | None,
) -> None:
    """Print the digest of BUNDLE and sign it with the owner's key.

    Publish both when the model is released. Later, 'kinprint verify --commitment' shows that the
    triggers are older than the audit, and so were not fitted to anybody.
    """
    import time

    from audit.bundle.bundle_file import read_bundle
    from audit.bundle.commitment import commitment_bytes, write_commitment
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.errors import AuditError, UntrustedKeyError
    from audit.records.record import utc
    from audit.signing.canonical import canonical_bytes
    from audit.signing.keys import Trust, load_private_key
    from audit.signing.timestamps import encode_token, stamp_at

    key = load_private_key(key_path, passphrase_from(passphrase_env))
    try:
        bundle = read_bundle(bundle_path, Trust(keys=(key.public_key,)))
    except UntrustedKeyError as error:
        raise AuditError(
            f"--key: expected the key that signed {bundle_path}, got {key.public_key.key_id}; only "
            "the bundle's owner can commit to it"
        ) from error
    token = None
    if timestamp_url is not None:
        manifest = canonical_bytes(bundle.manifest.model_dump(mode="json"))
        token = encode_token(stamp_at(timestamp_url)(manifest))
    path = output or bundle_path.with_suffix(".kincommit")
    write_commitment(
        path,
        commitment_bytes(bundle.manifest_sha256, key, committed=utc(time.time()), timestamp=token),
    )
    click.echo(bundle.manifest_sha256)
    click.echo(f"commitment: {path} (publish it together with the digest)", err=True)
