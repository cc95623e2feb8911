"""``kinprint inspect``: what a bundle claims, who signed it, and its images."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import printable

if TYPE_CHECKING:
    from audit.bundle.inspection import Inspection


@click.command("inspect", short_help="Show what a bundle says and who signed it.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    "trusted",
    metavar="KEY.pub",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Trust this public key, besides those in the trusted folder; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--images",
    metavar="OUT.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a contact sheet of triggers, carriers, differences and queries.",
)
@click.pass_context
def command(
    context: click.Context,
    bundle: Path,
    trusted: tuple[Path, ...],
    as_json: bool,
    images: Path | None,
) -> None:
    """Show a bundle's manifest and the state of its signature.

    A bundle signed by a key that is not trusted is shown with a warning; one whose signature is
    wrong is not shown. Both end with exit code 13. One whose contents contradict each other ends
    with 10.
    """
    from audit.bundle.inspection import SignatureState, inspect_bundle
    from audit.calibrating.bundle_faults import bundle_faults
    from audit.exit_codes import ExitCode
    from audit.signing.keys import load_trust

    inspection = inspect_bundle(bundle, load_trust(trusted))
    contents = inspection.contents
    faults = () if contents is None else bundle_faults(contents)
    if as_json:
        click.echo(inspection.to_json(faults))
    else:
        _print_tables(inspection)
        for fault in faults:
            click.echo(f"Fault: {printable(fault)}")
    if images is not None and inspection.contents is not None:
        _write_images(inspection, images)
    if inspection.state is not SignatureState.TRUSTED:
        click.echo(f"warning: {inspection.reason}", err=True)
        if inspection.state is SignatureState.UNTRUSTED:
            click.echo("warning: anybody can have made this bundle; do not rely on it", err=True)
        elif images is not None:
            click.echo(f"warning: {images} was not written", err=True)
        context.exit(ExitCode.SIGNATURE)
    if faults:
        context.exit(ExitCode.DERIVED)


def _print_tables(inspection: "Inspection") -> None:
    from rich.table import Table
    from rich.text import Text

    from audit.commands.terminal.consoles import PrintableConsole

    console = PrintableConsole()
    table = Table(show_header=False, title="Kinprint bundle", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in inspection.rows():
        # Text takes no markup, and rows() lets no control character through
        table.add_row(Text(name), Text(value))
    console.print(table)
    models = inspection.model_rows()
    if not models:
        return
    table = Table(title="Models that took part", title_justify="left")
    for heading in ("name", "role", "use", "stratum", "accuracy"):
        table.add_column(heading, overflow="fold")
    for row in models:
        table.add_row(*(Text(value) for value in row))
    console.print(table)


def _write_images(inspection: "Inspection", path: Path) -> None:
    from audit.atomic_file import write_atomically
    from audit.errors import AuditError
    from audit.report.contact_sheet import contact_sheet

    assert inspection.contents is not None
    try:
        write_atomically(path, [contact_sheet(inspection.contents)])
    except OSError as error:
        raise AuditError(f"--images: cannot write {path}: {error.strerror}") from error
    click.echo(f"contact sheet: {path}", err=True)
