"""``kinprint commit``: sign the digest to publish when a model is released."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from audit.bundle.manifest import BundleContents
    from audit.signing.keys import PrivateKey

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("commit", short_help="Sign a bundle's digest, to publish before any suspect.")
@click.argument("bundle_paths", metavar="BUNDLE...", nargs=-1, required=True, type=_EXISTING)
@click.option("--key", "key_path", metavar="OWNER.key", required=True, type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--timestamp-url", metavar="URL", help="Get an RFC 3161 timestamp there.")
@click.option(
    "-o",
    "--output",
    metavar="OUT.kincommit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the commitment to one bundle goes; by default beside it.",
)
def command(
    bundle_paths: tuple[Path, ...],
    key_path: Path,
    passphrase_env: str | None,
    timestamp_url: str | None,
    output: Path | None,
) -> None:
    """Print the digest of BUNDLE and sign it with the owner's key.

    Publish both when the model is released. Later, 'kinprint verify --commitment' shows that the
    triggers are older than the audit, and so were not fitted to anybody.

    Several bundles, such as the packs of 'kinprint craft --packs', get one digest to publish and a
    commitment beside each of them, which tells nothing of the others.
    """
    import time

    from audit.bundle.commitment import (
        commitment_bytes,
        pack_commitments,
        packs_root_bytes,
        write_commitment,
    )
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.records.record import utc
    from audit.signing.canonical import canonical_bytes, sha256_hex
    from audit.signing.keys import load_private_key
    from audit.signing.timestamps import encode_token, stamp_at

    if output is not None and len(bundle_paths) > 1:
        raise click.UsageError("--output is for one BUNDLE; several get a file beside each of them")
    key = load_private_key(key_path, passphrase_from(passphrase_env))
    bundles = _own_bundles(bundle_paths, key)
    digests = [bundle.manifest_sha256 for bundle in bundles]
    is_one = len(bundles) == 1
    signed = (
        canonical_bytes(bundles[0].manifest.model_dump(mode="json"))
        if is_one
        else packs_root_bytes(digests)
    )
    token = None if timestamp_url is None else encode_token(stamp_at(timestamp_url)(signed))
    now = utc(time.time())
    if is_one:
        files = [commitment_bytes(digests[0], key, committed=now, timestamp=token)]
    else:
        files = pack_commitments(digests, key, committed=now, timestamp=token)
    paths = [output or path.with_suffix(".kincommit") for path in bundle_paths]
    for path, data in zip(paths, files, strict=True):
        write_commitment(path, data)
    click.echo(sha256_hex(signed))
    what = f"{paths[0]} (publish it together with the digest)"
    if not is_one:
        what = (
            f"{', '.join(map(str, paths))} (publish the digest now; show a file with its bundle "
            "when you use that one)"
        )
    click.echo(f"commitment: {what}", err=True)


def _own_bundles(paths: Sequence[Path], key: "PrivateKey") -> list["BundleContents"]:
    from audit.bundle.bundle_file import read_bundle
    from audit.errors import AuditError, UntrustedKeyError
    from audit.signing.keys import Trust

    found = []
    for path in paths:
        try:
            found.append(read_bundle(path, Trust(keys=(key.public_key,))))
        except UntrustedKeyError as error:
            raise AuditError(
                f"--key: expected the key that signed {path}, got {key.public_key.key_id}; only "
                "the bundle's owner can commit to it"
            ) from error
    return found
