"""``kinprint report``: a record for people."""

from pathlib import Path

import click

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("report", short_help="Write a report of a record for people.")
@click.argument("record", type=_EXISTING)
@click.option("--bundle", type=_EXISTING, help="Bundle of the audit: verify it, show its images.")
@click.option("--trust", metavar="KEY.pub", multiple=True, type=_EXISTING, help="As in verify.")
@click.option("--commitment", type=_EXISTING, help="The owner's published commitment.")
@click.option("--tsa-cert", "tsa_certificates", multiple=True, type=_EXISTING, help="As in verify.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json", "junit", "cyclonedx"]),
    default="html",
    show_default=True,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File; standard output without it.",
)
def command(
    record: Path,
    bundle: Path | None,
    trust: tuple[Path, ...],
    commitment: Path | None,
    tsa_certificates: tuple[Path, ...],
    form: str,
    output: Path | None,
) -> None:
    """Write RECORD as one self-contained page, or as Markdown, JSON, JUnit or CycloneDX.

    The record is verified first; one that does not hold is not reported (exit status 13).
    """
    from audit.atomic_file import write_atomically
    from audit.errors import AuditError
    from audit.report.cyclonedx import render_cyclonedx
    from audit.report.data import report_data
    from audit.report.write import render_html, render_json, render_junit, render_markdown
    from audit.signing.keys import load_trust
    from audit.signing.timestamps import load_certificates

    if bundle is None and (commitment or tsa_certificates):
        raise click.UsageError("--commitment and --tsa-cert need --bundle")
    data = report_data(
        record,
        bundle,
        load_trust(trust),
        commitment_path=commitment,
        certificates=load_certificates(tsa_certificates),
    )
    render = {
        "html": render_html,
        "md": render_markdown,
        "json": render_json,
        "junit": render_junit,
        "cyclonedx": render_cyclonedx,
    }[form]
    text = render(data)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(output, [text.encode("utf-8")])
    except OSError as error:
        raise AuditError(f"report: cannot write {output}: {error.strerror}") from error
    click.echo(f"report: {output}", err=True)
