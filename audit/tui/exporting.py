"""Writes the evidence of an audit, with the functions that the command line uses."""

from dataclasses import dataclass
from pathlib import Path

from audit.atomic_file import write_atomically
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.records.from_journal import export_record
from audit.report.data import report_data
from audit.report.write import render_html, render_json
from audit.signing.keys import PrivateKey, load_private_key, write_key_pair
from audit.tui.desk import Desk


@dataclass(frozen=True, kw_only=True)
class Export:
    """What to write where."""

    audit: str
    journal: Path
    """Where the audit is."""
    record: Path
    key: Path
    passphrase: str | None
    bundle: Path | None
    """Needed for a report that verifies and shows images."""
    html: bool = False
    json: bool = False


def write_export(export: Export, desk: Desk) -> tuple[Path, ...]:
    """Write the record, and the reports that are wanted beside it.

    Args:
        export: What to write where.
        desk: Says whose bundles count.

    Returns:
        The files that were written.

    Raises:
        AuditError: The key cannot be used, a file cannot be written, or the bundle is not the
            audit's.
    """
    key = load_private_key(export.key, export.passphrase)
    journal = Journal(export.journal)
    try:
        export_record(journal, export.audit, export.record, key)
    finally:
        journal.close()
    written = [export.record]
    if export.html or export.json:
        trust = desk.trust()
        # The auditor's own record is verified with the auditor's own key.
        trust = type(trust)(keys=(*trust.keys, key.public_key))
        data = report_data(export.record, export.bundle, trust)
        for is_wanted, suffix, render in (
            (export.html, ".html", render_html),
            (export.json, ".json", render_json),
        ):
            if is_wanted:
                path = export.record.with_suffix(suffix)
                try:
                    write_atomically(path, [render(data).encode("utf-8")])
                except OSError as error:
                    raise AuditError(f"report: cannot write {path}: {error.strerror}") from error
                written.append(path)
    return tuple(written)


def make_auditor_key(folder: Path) -> Path:
    """Make an auditor's key pair, without a passphrase, that only its owner can read.

    Returns:
        The private key's path.

    Raises:
        AuditError: It cannot be written, or there is one already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AuditError(f"key: cannot make {folder}: {error.strerror}") from error
    path = folder / "auditor.key"
    write_key_pair(path, PrivateKey.generate(), None)
    return path
