"""What ``kinprint audit`` writes: a table or a JSON document, and files for machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.printable import json_text, printable

if TYPE_CHECKING:
    from audit.bundle.commitment import Commitment
    from audit.bundle.manifest import BundleContents
    from audit.commands.option_groups import OutputOptions


def write_files(
    bundle: "BundleContents", rows: list[dict[str, Any]], output: "OutputOptions"
) -> None:
    """Write the files for machines that were asked for.

    Args:
        bundle: What was asked with.
        rows: As in the JSON document, under ``audits``.
        output: Which files, and which verdicts fail.

    Raises:
        AuditError: One cannot be written.
    """
    told = _told_bundle(bundle)
    if output.junit_path is not None:
        from audit.report.junit import junit_bytes

        _write("junit", output.junit_path, junit_bytes(told, rows, output.fail_on))
    if output.sarif_path is not None:
        from audit.report.sarif import findings_of, sarif_bytes

        _write("sarif", output.sarif_path, sarif_bytes(findings_of(told, rows)))


def print_audits(
    bundle: "BundleContents",
    rows: list[dict[str, Any]],
    commitment: "Commitment | None",
    *,
    as_json: bool,
    status: int,
) -> None:
    """Print the verdicts, and what the bundle's date rests on where somebody is accused.

    Args:
        bundle: What was asked with.
        rows: As in the JSON document, under ``audits``.
        commitment: The owner's, if one was given.
        as_json: One JSON document.
        status: Of all suspects together.
    """
    if as_json:
        import json

        from audit.documents.audit_document import SCHEMA_VERSION

        document = {
            "schema_version": SCHEMA_VERSION,
            "bundle": {
                **_told_bundle(bundle),
                "committed": None if commitment is None else commitment.committed,
            },
            "audits": rows,
            "exit_code": status,
        }
        click.echo(json_text(json.dumps(document, indent=2)))
        return
    from audit.bundle.commitment import dated_words
    from audit.commands.verdict_table import print_verdicts

    print_verdicts(rows)
    if any("outcome" in row and row["outcome"]["verdict"] == "derived" for row in rows):
        click.echo(f"\n{printable(dated_words(commitment))}")


def _write(option: str, path: Path, data: bytes) -> None:
    from audit.atomic_file import write_atomically
    from audit.errors import AuditError

    try:
        write_atomically(path, [data])
    except OSError as error:
        raise AuditError(f"{option}: cannot write {path}: {error.strerror}") from error


def _told_bundle(bundle: "BundleContents") -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "sha256": bundle.manifest_sha256,
        "model_name": manifest.model_name,
        "owner": manifest.owner,
        "signer": bundle.signer_key_id,
        "method": manifest.method,
        "alpha": manifest.verdict_alpha,
        "beta": manifest.beta,
    }
