"""``kinprint record diff``: two audits of one suspect side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text, printable

if TYPE_CHECKING:
    from audit.records.change import Change
    from audit.records.timeline import DatedAudit

SCHEMA_VERSION = 1
"""Of the JSON document."""
MAX_SHOWN = 12
"""Changed answers that are listed; the JSON document has all."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("diff", short_help="Show what changed between two audits of a suspect.")
@click.argument("one", metavar="A.kinrecord", type=_EXISTING)
@click.argument("other", metavar="B.kinrecord", type=_EXISTING)
@click.option("--bundle", required=True, type=_EXISTING, help="Bundle that both asked with.")
@click.option("--trust", metavar="KEY.pub", multiple=True, type=_EXISTING, help="As in verify.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(one: Path, other: Path, bundle: Path, trust: tuple[Path, ...], as_json: bool) -> None:
    """Compare two audits of one suspect: verdict, answers, and whether it may be another model.

    Both records are verified first (exit status 13 if one does not hold). The earlier one comes
    first, whatever the order on the command line. Times are the auditor's word.
    """
    from audit.errors import AuditError
    from audit.records.change import change_between, is_one_suspect
    from audit.records.change_words import change_sentences
    from audit.records.timeline import verified_audit
    from audit.signing.keys import load_trust

    known = load_trust(trust)
    earlier, later = sorted(
        (verified_audit(path, bundle, known) for path in (one, other)), key=lambda audit: audit.time
    )
    then, now = earlier.record.opening.suspect, later.record.opening.suspect
    if not is_one_suspect(then, now):
        raise AuditError(
            f"records: expected two audits of one suspect, got {then.name!r} and {now.name!r}; "
            "neither name nor digest is the same"
        )
    change = change_between(earlier.record, later.record, later.bundle)
    sentences = change_sentences(change, alpha=later.bundle.manifest.alpha)
    if as_json:
        click.echo(_json(earlier, later, change, sentences))
    else:
        _print(earlier, later, change, sentences)


def _json(
    earlier: "DatedAudit", later: "DatedAudit", change: "Change", sentences: tuple[str, ...]
) -> str:
    import json

    from audit.report.timeline import audit_document, change_document

    document = {
        "schema_version": SCHEMA_VERSION,
        "earlier": audit_document(earlier),
        "later": audit_document(later),
        **change_document(change),
        "told": [{"name": name, "then": then, "now": now} for name, then, now in change.told],
        "text": list(sentences),
    }
    return json_text(json.dumps(document, indent=2))


def _print(
    earlier: "DatedAudit", later: "DatedAudit", change: "Change", sentences: tuple[str, ...]
) -> None:
    from rich.table import Table
    from rich.text import Text

    from audit.bundle.manifest import class_name
    from audit.commands.terminal.consoles import PrintableConsole

    console = PrintableConsole()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("what", "then", "now"):
        table.add_column(heading, overflow="fold")
    rows = [
        *zip(_TITLES, _facts(earlier), _facts(later), strict=True),
        *change.told,
    ]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
    console.print()
    for sentence in sentences:
        console.print(Text(printable(sentence)))
    if change.changed:
        console.print("\nAnswers that changed:", style="bold")
        then, now = (
            {row.question: class_name(audit.bundle, row.label) for row in audit.record.rows}
            for audit in (earlier, later)
        )
        for question in change.changed[:MAX_SHOWN]:
            line = f"  {question}: {then[question]} then, {now[question]} now"
            console.print(Text(printable(line)))
        if len(change.changed) > MAX_SHOWN:
            console.print(f"  and {len(change.changed) - MAX_SHOWN} more (--json lists all)")


_TITLES = ("begun (auditor's word)", "verdict", "score", "p", "answers")


def _facts(audit: "DatedAudit") -> tuple[str, ...]:
    score, outcome = audit.score, audit.record.closing.outcome
    p_value = outcome.p_value if outcome is not None else None
    return (
        audit.record.opening.started[:16].replace("T", " "),
        audit.verdict.value if audit.verdict is not None else "none",
        "-" if score is None else f"{score.value:z.3f} ({score.name})",
        "-" if p_value is None else f"{p_value:.3g}",
        str(len(audit.record.rows)),
    )
