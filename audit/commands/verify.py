"""``kinprint verify``: does an evidence record hold?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text, printable
from audit.commands.option_groups import sandbox_option

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from audit.records.ask_again import Reasked
    from audit.records.verify import Verification

SCHEMA_VERSION = 2
"""Of the JSON document."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("verify", short_help="Check a record and compute its verdict again.")
@click.argument("record", type=_EXISTING)
@click.option("--bundle", required=True, type=_EXISTING, help="Bundle that the audit asked with.")
@click.option(
    "--trust",
    metavar="KEY.pub",
    multiple=True,
    type=_EXISTING,
    help="Trust this public key, of the auditor or the owner; repeatable.",
)
@click.option(
    "--onnx",
    type=_EXISTING,
    help="Ask this file again and list what differs; a suspect TOML says how it wants its images.",
)
@sandbox_option
@click.option("--commitment", type=_EXISTING, help="The owner's published commitment.")
@click.option(
    "--tsa-cert",
    "tsa_certificates",
    multiple=True,
    type=_EXISTING,
    help="Certificate (PEM) of a time-stamping authority that counts; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    record: Path,
    bundle: Path,
    trust: tuple[Path, ...],
    onnx: Path | None,
    require_sandbox: bool,
    commitment: Path | None,
    tsa_certificates: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Check RECORD against its bundle: signatures, chain, questions, order, times, verdict.

    Exit status: 0 it holds, 12 genuine but incomplete, 13 refused, or the suspect is another one
    or answers otherwise now.
    """
    from audit.exit_codes import ExitCode
    from audit.records.verify import Result, verify_record
    from audit.signing.keys import load_trust

    known = load_trust(trust)
    certificates: tuple[Certificate, ...] = ()
    if tsa_certificates:
        from audit.signing.timestamps import load_certificates

        certificates = load_certificates(tsa_certificates)
    verification = verify_record(
        record, bundle, known, commitment_path=commitment, certificates=certificates
    )
    reasked = None
    if onnx is not None and verification.result is not Result.REFUSED:
        reasked = _ask_again(verification, onnx, require_sandbox)
    if as_json:
        click.echo(_json(verification, reasked))
    else:
        _print(verification, reasked)
    if verification.result is Result.REFUSED or (reasked and reasked.check.status == "failed"):
        return ExitCode.SIGNATURE
    return ExitCode.OK if verification.result is Result.HOLDS else ExitCode.STOPPED


def _ask_again(verification: "Verification", path: Path, require_sandbox: bool) -> "Reasked":
    from adapters.narrowed import Relabelled
    from adapters.onnx.process.limits import OnnxLimits
    from adapters.suspect import Suspect
    from audit.records.against_bundle import record_order
    from audit.records.ask_again import ask_again
    from audit.suspects.opening import open_described, open_file

    assert verification.record is not None
    assert verification.bundle is not None
    suspect: Suspect
    limits = OnnxLimits(require_sandbox=require_sandbox)
    if path.suffix == ".toml":
        suspect = open_described(verification.bundle, path, limits=limits)
    else:
        # Of several outputs, the one that the audit was about.
        output = verification.record.opening.settings.get("output")
        suspect = open_file(verification.bundle, path, output=output, limits=limits)
    order = record_order(verification.record, verification.bundle)
    if order is not None:
        suspect = Relabelled(suspect, order)
    try:
        return ask_again(verification.record, verification.bundle, suspect)
    finally:
        suspect.close()


def _print(verification: "Verification", reasked: "Reasked | None") -> None:
    from rich.table import Table
    from rich.text import Text

    from audit.commands.terminal.consoles import PrintableConsole

    styles = {"held": "green", "failed": "bold red", "not checked": "yellow"}
    console = PrintableConsole()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for check in [*verification.checks, *([reasked.check] if reasked else [])]:
        status = Text(check.status.value, styles[check.status.value])
        table.add_row(Text(check.name), status, Text(printable(check.text)))
    console.print(table)
    if verification.result == "refused":
        console.print("\nNothing else was checked: it would rest on what failed.")
    if reasked and reasked.differences:
        console.print("\nAnswers that differ:", style="bold")
        for difference in reasked.differences:
            console.print(
                Text(f"  {difference.question}: {difference.recorded} then, {difference.given} now")
            )
    if verification.limits:
        console.print("\nWhat this does not show:", style="bold")
        for limit in verification.limits:
            console.print(Text(f"  - {limit}"))
    console.print()
    verdict = verification.outcome.verdict.value if verification.outcome else "none"
    again = f"; asked again: {reasked.check.status.value}" if reasked else ""
    console.print(Text(f"record: {verification.result.value}; verdict: {verdict}{again}", "bold"))


def _json(verification: "Verification", reasked: "Reasked | None") -> str:
    import json

    document: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "result": verification.result.value,
        "record": verification.record.digest if verification.record else None,
        "checks": [
            {"name": check.name, "status": check.status.value, "text": check.text}
            for check in verification.checks
        ],
        "not_shown": list(verification.limits),
        "outcome": verification.outcome.model_dump(mode="json") if verification.outcome else None,
    }
    if reasked is not None:
        document["asked_again"] = {
            "status": reasked.check.status.value,
            "text": reasked.check.text,
            "differences": [
                {"question": one.question, "recorded": one.recorded, "given": one.given}
                for one in reasked.differences
            ],
        }
    return json_text(json.dumps(document, indent=2))
