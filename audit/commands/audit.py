"""``kinprint audit``: ask suspects, one after another, and say what each one is."""

import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.printable import printable
from audit.commands.consent import allow_option
from audit.commands.option_groups import (
    AskingOptions,
    OutputOptions,
    RecordOptions,
    SuspectOptions,
    gathered,
    look_for_option,
    sandbox_option,
)
from audit.project.command_defaults import default_bundle, is_by_default

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adapters.suspect import Suspect
    from audit.asking.options import AuditOptions
    from audit.bundle.manifest import BundleContents

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


def _print_schema(ctx: click.Context, param: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        from audit.documents.audit_document import schema_text

        click.echo(schema_text(), nl=False)
        ctx.exit()


@click.command("audit", short_help="Ask suspects whether they derive from the source.")
@click.argument("bundle_paths", metavar="BUNDLE...", type=_EXISTING, nargs=-1)
@click.option(
    "--attribute",
    is_flag=True,
    help="Ask with the line-ups of several bundles, and name the source.",
)
@click.option(
    "--onnx", "files", multiple=True, type=_EXISTING, help="ONNX file, or several: *.onnx."
)
@click.option(
    "--suspect",
    "described",
    multiple=True,
    type=_EXISTING,
    help="Suspect TOML that 'kinprint probe' writes (docs/suspects.md); repeatable.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=_EXISTING,
    help="Endpoint TOML (docs/endpoints.md); repeatable.",
)
@click.option(
    "--python",
    "functions",
    metavar="FILE.py:FUNCTION",
    multiple=True,
    help="Your own client: it gets uint8 images [N, H, W, C] and returns labels or rows of scores.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1, max=4096),
    default=1,
    show_default=True,
    help="Most images of one call, for --python.",
)
@click.option(
    "--call-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120,
    show_default=True,
    help="Seconds that one call may take, for --python.",
)
@click.option("--price", metavar="'0.002 USD'", help="What an image costs, for --python.")
@allow_option
@click.option("--output", help="Name of the output with the classes, for --onnx.")
@click.option(
    "--output-kind",
    type=click.Choice(
        ["auto", "logits", "probabilities", "log_probabilities", "sigmoids", "labels"]
    ),
    default="auto",
    show_default=True,
    help="What that output holds, for --onnx; what rows of scores are, for --python.",
)
@click.option(
    "--infer-classes",
    is_flag=True,
    help="Find the order of the classes from the control images; none is asked twice.",
)
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that may have signed.")
@click.option("--score", "scores", multiple=True, help="Score to compute; the first one decides.")
@look_for_option
@click.option("--labels-only", is_flag=True, help="Use labels only, whatever the suspect tells.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@sandbox_option
@click.option(
    "--rate", type=float, help="Most requests a second, instead of what the endpoint file says."
)
@click.option("--budget", type=click.IntRange(min=1), help="Ask at most so many images a suspect.")
@click.option(
    "--max-cost",
    metavar="AMOUNT",
    help="What one endpoint may cost, in its file's currency; a request more is not sent.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    help="Requests that one endpoint may get, retries and resumptions included.",
)
@click.option("--yes", is_flag=True, help="Start without asking, whatever it costs.")
@click.option("--ca-bundle", type=_EXISTING, help="PEM file of authorities, for --endpoint.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Let credentials travel over plain HTTP to another machine; the record says so.",
)
@click.option(
    "--alpha", type=float, help="False-positive rate of the verdict; by default the bundle's."
)
@click.option("--beta", type=float, help="Miss rate; by default the bundle's.")
@click.option(
    "--stop-early/--ask-all",
    default=None,
    help="Stop when the verdict is certain enough; by default at endpoints only.",
)
@click.option("--resume", is_flag=True, help="Go on with an audit that was interrupted.")
@click.option(
    "--new", "is_new", is_flag=True, help="Begin another audit, though one is unfinished and paid."
)
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), help="SQLite file.")
@click.option(
    "--record",
    "record_path",
    metavar="OUT.kinrecord",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a signed record of the audit (one suspect).",
)
@click.option("--auditor-key", metavar="KEY", type=_EXISTING, help="Key that signs the record.")
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--timestamp-url", metavar="URL", help="Get RFC 3161 timestamps for the record.")
@click.option(
    "--commitment",
    "commitment_path",
    metavar="FILE.kincommit",
    type=_EXISTING,
    help="The owner's commitment, which says since when the bundle has been there.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option(
    "--json-schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of that document and end.",
)
@click.option(
    "--junit",
    "junit_path",
    metavar="OUT.xml",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a JUnit file: a test case per suspect, which fails where it is derived.",
)
@click.option(
    "--sarif",
    "sarif_path",
    metavar="OUT.sarif",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a SARIF file, for code scanning.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--fail-on",
    type=click.Choice(["derived", "inconclusive", "never"]),
    default="inconclusive",
    show_default=True,
    help="Which verdicts give a non-zero exit status.",
)
@gathered(suspects=SuspectOptions, asking=AskingOptions, record=RecordOptions, output=OutputOptions)
def command(
    bundle_paths: tuple[Path, ...],
    attribute: bool,
    suspects: SuspectOptions,
    asking: AskingOptions,
    record: RecordOptions,
    output: OutputOptions,
    trust: tuple[Path, ...],
    commitment_path: Path | None,
    journal: Path | None,
    yes: bool,
    is_new: bool,
) -> int:
    """Audit suspects with BUNDLE and print a verdict for each.

    With --attribute and bundles of several versions of a model, say for each suspect which of them
    it learnt from.

    Exit status: 0 nothing derived found, 10 derived, 11 inconclusive, 12 stopped and resumable,
    13 signature wrong, 14 suspect unreachable or without usable answers, 15 not comparable.
    """
    from audit.bundle.bundle_file import read_bundle
    from audit.bundle.commitment import owners_commitment
    from audit.commands.audit_output import print_audits, write_files
    from audit.commands.audit_row import adjust_p_values
    from audit.commands.recording import prepare_recording
    from audit.errors import AuditError
    from audit.exit_codes import ExitCode, code_for_error, gravest
    from audit.journal.journal import default_journal
    from audit.signing.keys import load_trust

    bundle_paths, suspects = _with_stray_files(bundle_paths, suspects)
    suspects, asking, record = _as_needed(suspects, asking, record)
    suspects.check()
    bundle_paths = bundle_paths or default_bundle()
    if not bundle_paths or (len(bundle_paths) > 1 and not attribute):
        raise click.UsageError(
            f"expected one BUNDLE, got {len(bundle_paths)}; --attribute compares several"
            if bundle_paths
            else "Missing argument 'BUNDLE...'."
        )
    _check_endpoint_options(suspects, asking)
    if is_new and asking.resume:
        raise click.UsageError("--resume goes on with an audit, --new begins one; give one of both")
    options = asking.audit_options()
    recording = prepare_recording(record, num_suspects=len(suspects.paths))
    trusted = load_trust(trust)
    bundle = read_bundle(bundle_paths[0], trusted)
    commitment = None
    if commitment_path is not None:
        commitment = owners_commitment(commitment_path, bundle, trusted)
    journal = journal or default_journal()
    if attribute:
        if record.record_path is not None or output.junit_path is not None:
            raise click.UsageError(
                "--record and --junit are for one bundle; kinprint record export writes records"
            )
        from audit.commands.attributing import run_attribution

        return run_attribution(
            [read_bundle(path, trusted) for path in bundle_paths],
            suspects,
            options,
            partial(
                _audited,
                journal=journal,
                stamp=None,
                is_agreed=yes,
                is_quiet=output.quiet,
                is_new=is_new,
            ),
            output,
        )
    rows: list[dict[str, Any]] = []
    unwritten: AuditError | None = None
    for path in suspects.paths:
        try:
            with closing(suspects.open(bundle, path)) as suspect:
                rows.append(
                    _audited(
                        bundle,
                        suspect,
                        path,
                        options,
                        journal=journal,
                        stamp=recording.stamp if recording else None,
                        is_agreed=yes,
                        is_quiet=output.quiet,
                        is_new=is_new,
                        later=suspects.paths[suspects.paths.index(path) + 1 :],
                    )
                )
                if recording is not None:
                    unwritten = recording.write(journal, rows[-1]["run"]["audit"])
        except Exception as error:
            code = code_for_error(error)
            is_alone = len(suspects.paths) == 1 and not output.has_document
            if code is None or is_alone:
                raise
            rows.append({"suspect": {"path": str(path)}, "error": str(error), "exit_code": code})
    if len(rows) > 1:
        adjust_p_values(rows)
    status = gravest([ExitCode(row["exit_code"]) for row in rows], output.fail_on)
    if unwritten is not None:
        status = code_for_error(unwritten) or ExitCode.UNEXPECTED
    write_files(bundle, rows, output)
    print_audits(bundle, rows, commitment, as_json=output.as_json, status=status)
    if unwritten is not None:
        raise unwritten
    return status


def _with_stray_files(
    bundle_paths: tuple[Path, ...], suspects: SuspectOptions
) -> tuple[tuple[Path, ...], SuspectOptions]:
    """Take ONNX files among the bundles for suspects: a shell makes them of ``--onnx *.onnx``."""
    if not suspects.files:
        return bundle_paths, suspects
    stray = tuple(path for path in bundle_paths if path.suffix.lower() == ".onnx")
    kept = tuple(path for path in bundle_paths if path not in stray)
    return kept, replace(suspects, files=(*suspects.files, *stray))


def _as_needed(
    suspects: SuspectOptions, asking: AskingOptions, record: RecordOptions
) -> tuple[SuspectOptions, AskingOptions, RecordOptions]:
    """Leave out what the settings say of records and endpoints where there is none."""
    if record.record_path is None and is_by_default("auditor_key"):
        record = replace(record, auditor_key=None)
    if not suspects.endpoints and is_by_default("rate"):
        suspects = replace(suspects, rate=None)
    if not (suspects.endpoints or suspects.functions) and is_by_default("max_requests"):
        asking = replace(asking, max_requests=None)
    return suspects, asking, record


def _check_endpoint_options(suspects: SuspectOptions, asking: AskingOptions) -> None:
    if (asking.max_cost or asking.max_requests) and not (suspects.endpoints or suspects.functions):
        raise click.UsageError("--max-cost and --max-requests are for --endpoint and --python")
    given = (
        suspects.ca_bundle,
        suspects.insecure,
        suspects.rate is not None,
        suspects.allow,
    )
    if any(given) and not suspects.endpoints:
        raise click.UsageError("--rate, --ca-bundle, --insecure and --allow are for --endpoint")


def _audited(
    bundle: "BundleContents",
    suspect: "Suspect",
    path: Path,
    options: "AuditOptions",
    *,
    journal: Path,
    stamp: "Callable[[bytes], bytes] | None",
    is_agreed: bool,
    is_quiet: bool,
    is_new: bool,
    later: "Sequence[Path]" = (),
) -> dict[str, Any]:
    """Audit one suspect, after somebody agreed to what it costs."""
    from audit.asking.cost import plan_spending
    from audit.commands.agreement import agree
    from audit.commands.audit_row import audit_row, finished_row
    from audit.commands.earlier_audits import (
        commands_to_go_on,
        earlier_audits,
        goes_on,
        told_unfinished,
    )

    spending = plan_spending(bundle, suspect, options.settled_for(bundle, suspect))
    tariff = None if spending is None else spending.tariff
    earlier = earlier_audits(bundle, suspect, journal, options)
    if options.resume and earlier.finished is not None:
        click.echo(f"{printable(path.name)}: finished before; nothing is asked.", err=True)
        return finished_row(suspect, path, earlier.finished, journal=journal, tariff=tariff)
    if tariff is not None and earlier.unfinished is not None and not (options.resume or is_new):
        told = told_unfinished(earlier.unfinished, journal, tariff)
        options = replace(options, resume=told is not None and goes_on(told))
    if spending is not None:
        agree(
            path.name,
            spending,
            is_resumed=options.resume,
            has_budget=options.budget is not None,
            is_agreed=is_agreed,
            is_quiet=is_quiet,
        )
    try:
        return audit_row(
            bundle, suspect, path, options, journal=journal, stamp=stamp, is_shown=not is_quiet
        )
    except KeyboardInterrupt:
        if earlier_audits(bundle, suspect, journal, options).unfinished is not None:
            click.echo("\nEvery answer is kept. To go on:", err=True)
            for line in commands_to_go_on(sys.argv[1:], path, later):
                click.echo(f"  {line}", err=True)
        raise
