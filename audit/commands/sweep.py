"""``kinprint sweep``: ask many suspects with many bundles, and go on where it was ended."""

import json
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapters.printable import json_text
from audit.commands.consent import allow_option
from audit.commands.option_groups import check_look_for, look_for_option, sandbox_option

if TYPE_CHECKING:
    from audit.journal.sweep_table import SweepTable
    from audit.sweep.engine import Engine
    from audit.sweep.run import Sweep, Swept

_EXISTING = click.Path(exists=True, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
DAY_S = 86400.0


@click.command("sweep", short_help="Ask many suspects with many bundles.")
@click.option(
    "--bundles",
    "bundles_path",
    metavar="DIR",
    type=_EXISTING,
    required=True,
    help="Folder of bundles, or one bundle.",
)
@click.option(
    "--suspects",
    "suspects_path",
    metavar="DIR|LIST.toml",
    type=_EXISTING,
    help="Folder of ONNX and suspect files, with those below it, or a list of suspects.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=_FILE,
    help="Endpoint TOML to ask; one that only lies in a folder is not asked. Repeatable.",
)
@allow_option
@click.option(
    "--watch",
    "watch_path",
    metavar="DIR",
    type=_FOLDER,
    help="Like --suspects, and look again and again for what is new, until interrupted.",
)
@click.option(
    "--every",
    "every_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    help="Time between two looks, for --watch.",
)
@click.option(
    "-o",
    "--out",
    "folder",
    metavar="RESULTS",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the results; one that is there already is gone on with.",
)
@click.option("--trust", multiple=True, type=_FILE, help="Public key that may have signed.")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Suspect files at once; by default all cores."
)
@click.option(
    "--cluster", metavar="ADDRESS", help="Dask scheduler that spreads the work (docs/cluster.md)."
)
@click.option(
    "--local-cluster",
    type=click.IntRange(min=1),
    metavar="N",
    help="Start a Dask cluster of N workers on this machine only.",
)
@click.option("--score", "scores", multiple=True, help="Score to compute; the first one decides.")
@look_for_option
@click.option("--labels-only", is_flag=True, help="Use labels only, whatever a suspect tells.")
@click.option(
    "--resize", is_flag=True, help="Ask also models that take images of another size, enlarged."
)
@click.option("--alpha", type=float, help="False-positive rate; by default each bundle's.")
@click.option("--beta", type=float, help="Miss rate; by default each bundle's.")
@click.option(
    "--stop-early/--ask-all",
    default=True,
    show_default=True,
    help="Stop asking a suspect when the verdict is certain enough.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@sandbox_option
@click.option("--budget", type=click.IntRange(min=1), help="Ask at most so many images a pair.")
@click.option("--max-cost", metavar="AMOUNT", help="What one endpoint may cost with one bundle.")
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    help="Requests that one endpoint may get with one bundle.",
)
@click.option("--rate", type=float, help="Most requests a second to each endpoint.")
@click.option("--yes", is_flag=True, help="Ask endpoints that cost money, whatever it comes to.")
@click.option("--ca-bundle", type=_FILE, help="PEM file of authorities, for endpoints.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Let credentials travel over plain HTTP to another machine; the records say so.",
)
@click.option(
    "--again-after",
    "again_after_days",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help="Ask endpoints again whose answers are older; files answer the same for ever.",
)
@click.option("--retry-failed", is_flag=True, help="Ask again what could not be asked.")
@click.option(
    "--auditor-key", metavar="KEY", type=_FILE, help="Sign a record of every pair with this key."
)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option(
    "--fdr",
    metavar="RATE",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of innocents among the accused that the report allows (Benjamini-Hochberg).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line per pair, as they come.")
@click.option(
    "--sarif",
    "sarif_path",
    metavar="OUT.sarif",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a SARIF file of all pairs at the end, for code scanning.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--fail-on",
    type=click.Choice(["derived", "inconclusive", "never"]),
    default="inconclusive",
    show_default=True,
    help="Which verdicts give a non-zero exit status.",
)
def command(
    bundles_path: Path,
    suspects_path: Path | None,
    endpoints: tuple[Path, ...],
    allow: tuple[str, ...],
    watch_path: Path | None,
    every_s: float,
    folder: Path,
    trust: tuple[Path, ...],
    jobs: int | None,
    cluster: str | None,
    local_cluster: int | None,
    scores: tuple[str, ...],
    look_for: Literal["copies"] | None,
    labels_only: bool,
    resize: bool,
    alpha: float | None,
    beta: float | None,
    stop_early: bool,
    device: Literal["auto", "cpu", "cuda"],
    require_sandbox: bool,
    budget: int | None,
    max_cost: str | None,
    max_requests: int | None,
    rate: float | None,
    yes: bool,
    ca_bundle: Path | None,
    insecure: bool,
    again_after_days: float | None,
    retry_failed: bool,
    auditor_key: Path | None,
    passphrase_env: str | None,
    fdr: float,
    as_json: bool,
    sarif_path: Path | None,
    quiet: bool,
    fail_on: str,
) -> int:
    """Ask every suspect with every bundle that is about the same task.

    What was asked is kept in RESULTS: a table, the journal, a page to look at. The same command
    again goes on after an interruption, and asks only what is new or has changed.

    Exit status as for 'kinprint audit': of all pairs the gravest counts. Pairs that are about
    different tasks do not count, unless there are no others (15).
    """
    from adapters.onnx.model import num_cores
    from adapters.onnx.sandbox_check import require_full_sandbox
    from audit.commands.agreement import amount
    from audit.commands.sweeping.consent import consent_to_endpoints
    from audit.commands.sweeping.findings import write_sarif
    from audit.commands.sweeping.running import (
        Looks,
        run_sweep,
        told_of_look,
        told_of_nothing,
        told_of_unasked,
    )
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.errors import AuditError
    from audit.signing.keys import load_private_key, load_trust
    from audit.sweep.listing import named_endpoints, read_bundles
    from audit.sweep.run import Sweep, SweepBundle
    from audit.sweep.tasks import SweepSettings

    place = _place(suspects_path, watch_path, endpoints)
    if sum(choice is not None for choice in (jobs, cluster, local_cluster)) > 1:
        raise click.UsageError("--jobs, --cluster and --local-cluster exclude one another")
    check_look_for(scores, look_for)
    if auditor_key is None and passphrase_env is not None:
        raise click.UsageError("--passphrase-env needs --auditor-key KEY")
    known = load_trust(trust)
    is_here = cluster is None and local_cluster is None
    if require_sandbox and is_here:
        require_full_sandbox(device)
    bundles = [
        SweepBundle(path=path, data=data, contents=contents)
        for path, data, contents in read_bundles(bundles_path, known)
    ]
    num_jobs = jobs or num_cores()
    settings = SweepSettings(
        scores=scores,
        look_for=look_for,
        alpha=alpha,
        beta=beta,
        stop_early=stop_early,
        labels_only=labels_only,
        resize=resize,
        budget=budget,
        device=device,
        require_sandbox=require_sandbox,
        num_threads=max(1, num_cores() // num_jobs) if is_here else 1,
        max_requests=max_requests,
        max_cost=None if max_cost is None else str(amount(max_cost)),
        rate=rate,
        ca_bundle=ca_bundle,
        allow_plain_http=insecure,
        is_agreed=yes,
    )
    for one in bundles:
        _check(settings, one)
    named = named_endpoints(place, endpoints)
    allowed = consent_to_endpoints(bundles[0].contents, named, allow, settings)
    key = None
    if auditor_key is not None:
        key = load_private_key(auditor_key, passphrase_from(passphrase_env))
    with ExitStack() as stack:
        sweep = Sweep(
            folder,
            bundles,
            settings,
            known,
            auditor_key=key,
            retry_failed=retry_failed,
            again_after_s=None if again_after_days is None else again_after_days * DAY_S,
            allow=allowed,
        )
        stack.enter_context(closing(sweep))
        engine = _engine(sweep, num_jobs, cluster, local_cluster)
        stack.enter_context(closing(engine))
        looks = None
        if watch_path is not None:

            def looked(swept: "Swept") -> None:
                page = _write_page(sweep, folder, fdr)
                if not quiet:
                    click.echo(told_of_look(swept, page, every_s), err=True)
                if swept.num_unasked and not quiet:
                    click.echo(told_of_unasked(swept.num_unasked), err=True)

            looks = Looks(every_s=every_s, looked=looked)
        try:
            swept = run_sweep(
                sweep,
                lambda: sweep.run(place, engine, endpoints=endpoints),
                looks=looks,
                as_json=as_json,
                is_shown=not quiet,
            )
            if looks is None and swept is not None and swept.num_names == 0:
                raise AuditError(told_of_nothing(place, swept.num_unasked))
        except BaseException:
            with suppress(AuditError):  # what ended the sweep is the thing to tell
                _write_page(sweep, folder, fdr)
            raise
        page = _write_page(sweep, folder, fdr)
        if sarif_path is not None:
            write_sarif(sweep.table, sarif_path)
        status = _status(sweep.table, fail_on)
        num_unasked = 0 if swept is None else swept.num_unasked
        _print(sweep.table, page, fdr, num_unasked, as_json=as_json, status=status)
        if num_unasked:
            click.echo(told_of_unasked(num_unasked), err=True)
        return status


def _place(
    suspects_path: Path | None, watch_path: Path | None, endpoints: tuple[Path, ...]
) -> Path | None:
    places = [path for path in (suspects_path, watch_path) if path is not None]
    if len(places) > 1 or not (places or endpoints):
        raise click.UsageError(
            "suspects: give --suspects DIR, --suspects LIST.toml or --watch DIR; --endpoint FILE "
            "besides, or alone"
        )
    return places[0] if places else None


def _check(settings: Any, bundle: Any) -> None:
    """Refuse what no pair of this bundle could be asked with, before anything is asked."""
    from adapters.suspect import Capability
    from audit.asking.plan import make_plan

    options = settings.options(bundle.contents)
    options.rule(bundle.contents.manifest)
    make_plan(bundle.contents, options.scores, Capability.PROBABILITIES).within(settings.budget)


def _engine(sweep: "Sweep", num_jobs: int, cluster: str | None, num_local: int | None) -> "Engine":
    if cluster is not None or num_local is not None:
        from adapters.extras import require
        from audit.errors import AuditError

        require("distributed", by="a sweep on a cluster", error=AuditError)
        from audit.sweep.dask_engine import connect, connect_locally

        if cluster is not None:
            return connect(cluster, sweep.parcel, sweep.results)
        assert num_local is not None, "one of the two is given"
        return connect_locally(num_local, sweep.parcel, sweep.results)
    from audit.sweep.process_engine import ProcessEngine

    return ProcessEngine(sweep.parcel, num_jobs, sweep.results)


def _write_page(sweep: "Sweep", folder: Path, fdr: float) -> Path:
    from audit.atomic_file import write_atomically
    from audit.errors import AuditError
    from audit.sweep.page import render_page
    from audit.sweep.run import PAGE_NAME
    from audit.verdict.p_values import benjamini_hochberg

    page = folder / PAGE_NAME
    sweep.table.adjust(benjamini_hochberg)
    try:
        write_atomically(page, [render_page(sweep.table, fdr=fdr).encode()])
    except OSError as error:
        raise AuditError(f"page: cannot write {page}: {error.strerror}") from error
    return page


def _status(table: "SweepTable", fail_on: str) -> int:
    from audit.exit_codes import ExitCode, gravest
    from audit.journal.sweep_results import exit_codes

    found = [ExitCode(code) for code in exit_codes(table)]
    # Of many suspects most are about something else.
    counted: list[ExitCode] = [code for code in found if code is not ExitCode.NOT_COMPARABLE]
    if not counted and found:
        return ExitCode.NOT_COMPARABLE
    return gravest(counted, fail_on)


def _print(
    table: "SweepTable", page: Path, fdr: float, num_unasked: int, *, as_json: bool, status: int
) -> None:
    from audit.sweep.summary import summarise

    summary = summarise(table, fdr=fdr)
    if as_json:
        told = {"type": "summary", **summary.as_json(), "num_endpoints_not_asked": num_unasked}
        click.echo(json_text(json.dumps({**told, "page": str(page), "exit_code": status})))
        return
    from audit.commands.sweeping.table import print_summary

    print_summary(summary, page)
