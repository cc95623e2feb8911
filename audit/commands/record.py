"""``kinprint record``: the audits that this machine remembers, and records made of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text, printable
from audit.commands.comparing.record_diff import command as diff
from audit.commands.comparing.timeline import command as timeline

if TYPE_CHECKING:
    from audit.journal.journal import Journal

SCHEMA_VERSION = 2
"""Of the JSON documents."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_journal_option = click.option(
    "--journal",
    "journal_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file; by default the user's own.",
)


@click.group("record", short_help="List, export, delete and compare audits.")
def command() -> None:
    """Work with the audits in the journal, and with records made of them.

    Every audit is in the journal from its first answer on.
    """


command.add_command(diff)
command.add_command(timeline)


@command.command("list")
@_journal_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(journal_path: Path | None, as_json: bool) -> None:
    """Show all audits, the newest first."""
    import json

    from audit.journal.journal import default_journal
    from audit.records.from_journal import StoredAudit, open_existing, stored_audits
    from audit.records.record import utc

    path = journal_path or default_journal()
    audits: tuple[StoredAudit, ...] = ()
    if path.exists():
        journal = open_existing(path)
        try:
            audits = stored_audits(journal)
        finally:
            journal.close()
    if as_json:
        rows = [
            {
                "audit": audit.audit,
                "started": utc(audit.started),
                "bundle": audit.bundle,
                "model_name": audit.model_name,
                "suspect": audit.suspect,
                "num_answers": audit.num_answers,
                "state": audit.state.value,
                "verdict": audit.outcome.verdict.value if audit.outcome else None,
            }
            for audit in audits
        ]
        click.echo(
            json_text(json.dumps({"schema_version": SCHEMA_VERSION, "audits": rows}, indent=2))
        )
        return
    from rich.table import Table
    from rich.text import Text

    from audit.commands.terminal.consoles import PrintableConsole

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("audit", "started (UTC)", "model", "suspect", "answers", "verdict"):
        table.add_column(
            title,
            # One line an audit: only names give way, and stand whole in --json.
            no_wrap=title not in ("model", "suspect"),
            justify="right" if title == "answers" else "left",
        )

    def cut_off(name: str) -> Text:
        return Text(name, no_wrap=True, overflow="ellipsis")

    for audit in audits:
        table.add_row(
            Text(printable(audit.audit)),
            utc(audit.started)[:16].replace("T", " "),
            cut_off(printable(audit.model_name)),
            cut_off(printable(audit.suspect)),
            str(audit.num_answers),
            audit.outcome.verdict.value if audit.outcome else f"none: {audit.state.value}",
        )
    PrintableConsole().print(table)
    if not audits:
        click.echo(f"no audits yet in {path}; kinprint audit makes some", err=True)


@command.command("show")
@click.argument("audit")
@_journal_option
def show(audit: str, journal_path: Path | None) -> None:
    """Show one audit as a JSON document, by its id or the beginning of it."""
    import json

    from audit.records.from_journal import draft_record, find_audit

    journal = _opened(journal_path)
    try:
        draft = draft_record(journal, find_audit(journal, audit))
    finally:
        journal.close()
    opening = draft.opening.model_dump(mode="json")
    del opening["bundle"]["manifest"]
    document = {
        "schema_version": SCHEMA_VERSION,
        **opening,
        "state": draft.state.value,
        "finished": draft.finished,
        "num_answers": len(draft.rows),
        "outcome": draft.outcome.model_dump(mode="json") if draft.outcome else None,
    }
    click.echo(json_text(json.dumps(document, indent=2)))


@command.command("export")
@click.argument("audit")
@click.argument("out", metavar="OUT.kinrecord", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--auditor-key", metavar="KEY", required=True, type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--timestamp-url", metavar="URL", help="Get an RFC 3161 timestamp over the answers.")
@_journal_option
def export(
    audit: str,
    out: Path,
    auditor_key: Path,
    passphrase_env: str | None,
    timestamp_url: str | None,
    journal_path: Path | None,
) -> None:
    """Sign the record of an audit and write it to OUT.kinrecord."""
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.records.from_journal import export_record, find_audit
    from audit.signing.keys import load_private_key
    from audit.signing.timestamps import stamp_at

    key = load_private_key(auditor_key, passphrase_from(passphrase_env))
    stamp = None if timestamp_url is None else stamp_at(timestamp_url)
    journal = _opened(journal_path)
    try:
        digest = export_record(journal, find_audit(journal, audit), out, key, stamp=stamp)
    finally:
        journal.close()
    click.echo(digest)


@command.command("attest", short_help="Sign a record's verdict for other tools (in-toto).")
@click.argument("record", metavar="RECORD.kinrecord", type=_EXISTING)
@click.argument("out", metavar="OUT.intoto.json", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--auditor-key", metavar="KEY", required=True, type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
def attest(record: Path, out: Path, auditor_key: Path, passphrase_env: str | None) -> None:
    """Write what RECORD says of its suspect as a signed in-toto Statement.

    Other tools verify it without Kinprint: a DSSE envelope, signed by the auditor, whose subject
    is the suspect.
    """
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.documents.attestation import attest as attested
    from audit.records.record import read_bytes, write_record
    from audit.signing.keys import load_private_key

    key = load_private_key(auditor_key, passphrase_from(passphrase_env))
    write_record(out, attested(read_bytes(record), key))
    click.echo(f"attestation: {out}", err=True)


@command.command("delete")
@click.argument("audit")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_journal_option
def delete(audit: str, yes: bool, journal_path: Path | None) -> None:
    """Forget one audit and all its answers."""
    from audit.journal.audits import delete_audit
    from audit.records.from_journal import find_audit

    journal = _opened(journal_path)
    try:
        found = find_audit(journal, audit)
        if not yes:
            click.confirm(f"Delete audit {found} and its answers?", abort=True, err=True)
        delete_audit(journal, found)
    finally:
        journal.close()
    click.echo(f"deleted {found}", err=True)


def _opened(path: Path | None) -> "Journal":
    from audit.journal.journal import default_journal
    from audit.records.from_journal import open_existing

    return open_existing(path or default_journal())
