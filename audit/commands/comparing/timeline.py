"""``kinprint record timeline``: audits of one suspect over time."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import printable

if TYPE_CHECKING:
    from audit.records.timeline import Timeline

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("timeline", short_help="Show audits of one suspect over time: since when?")
@click.argument(
    "records",
    metavar="FOLDER-OR-RECORD...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--bundle", required=True, type=_EXISTING, help="Bundle that all asked with.")
@click.option("--trust", metavar="KEY.pub", multiple=True, type=_EXISTING, help="As in verify.")
@click.option("--suspect", metavar="NAME", help="Name or digest, where records are about several.")
@click.option("--tsa-cert", "tsa_certificates", multiple=True, type=_EXISTING, help="As in verify.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "-o",
    "--output",
    metavar="OUT.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a page with a plot.",
)
def command(
    records: tuple[Path, ...],
    bundle: Path,
    trust: tuple[Path, ...],
    suspect: str | None,
    tsa_certificates: tuple[Path, ...],
    as_json: bool,
    output: Path | None,
) -> None:
    """Put the audits of one suspect in order and say since when it is what they found.

    Of a folder, every .kinrecord below it is taken. Each record is verified; what does not hold,
    or is about another suspect or bundle, is named and left out. Times are the auditor's word
    where no trusted time-stamp stands beside them.
    """
    from audit.atomic_file import write_atomically
    from audit.errors import AuditError
    from audit.records.timeline import make_timeline
    from audit.report.timeline import render_html, render_json
    from audit.signing.keys import load_trust
    from audit.signing.timestamps import load_certificates

    timeline = make_timeline(
        tuple(_files(records)),
        bundle,
        load_trust(trust),
        suspect=suspect,
        certificates=load_certificates(tsa_certificates) if tsa_certificates else (),
    )
    if output is not None:
        try:
            write_atomically(output, [render_html(timeline).encode("utf-8")])
        except OSError as error:
            raise AuditError(f"--output: cannot write {output}: {error.strerror}") from error
    if as_json:
        click.echo(render_json(timeline), nl=False)
    else:
        _print(timeline)
    if output is not None:
        click.echo(f"timeline: {output}", err=True)


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    from audit.errors import AuditError
    from audit.records.timeline import SUFFIX

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.rglob(f"*{SUFFIX}"))
        if not found:
            raise AuditError(f"records: expected files *{SUFFIX} in {path}, got none")
        yield from found


def _print(timeline: "Timeline") -> None:
    from rich.table import Table
    from rich.text import Text

    from audit.commands.terminal.consoles import PrintableConsole
    from audit.commands.verdict_table import STYLES
    from audit.records.timeline_words import timeline_sentences
    from audit.report.timeline import timeline_rows

    console = PrintableConsole()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("begun", "verdict", "score", "p", "changed", "record"):
        is_number = heading in ("score", "p", "changed")
        table.add_column(
            heading,
            overflow="fold",
            no_wrap=heading != "record",
            justify="right" if is_number else "left",
        )
    for day, verdict, *cells in timeline_rows(timeline):
        style = STYLES.get(verdict, "")
        table.add_row(day, Text(verdict, style), *(Text(printable(cell)) for cell in cells))
    console.print(table)
    console.print()
    for sentence in timeline_sentences(timeline):
        console.print(Text(printable(sentence)))
    if timeline.left_out:
        console.print("\nLeft out:", style="bold")
        for one in timeline.left_out:
            console.print(Text(printable(f"  {one.path}: {one.reason}")))
