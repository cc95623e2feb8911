"""``kinprint challenge``: a judge's own innocent models against somebody's bundle."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text, printable
from audit.commands.option_groups import sandbox_option

if TYPE_CHECKING:
    from audit.bundle.manifest import BundleContents
    from audit.calibrating.challenge import Challenge
    from audit.calibrating.changed_models import ModelChange
    from audit.calibrating.claim_tests import ClaimTest
    from audit.calibrating.line_up_picks import LineUpPicks

SCHEMA_VERSION = 3
"""Of the JSON document."""


@click.command("challenge", short_help="Try a bundle on models that are surely innocent.")
@click.argument("bundle_path", metavar="BUNDLE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--onnx",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with ONNX files of innocent models, or with suspect TOMLs beside them; a folder "
    "below a folder in it holds files of one network.",
)
@click.option(
    "--as-they-are",
    is_flag=True,
    help="Do not try what becomes of them: quantised, moved weights, behind JPEG or resizing.",
)
@click.option(
    "--trust",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public key that may have signed the bundle.",
)
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    bundle_path: Path,
    folder: Path,
    as_they_are: bool,
    trust: tuple[Path, ...],
    require_sandbox: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Audit innocent models with BUNDLE and say whether its claim holds for them.

    Exit status: 0 the bundle stands, 10 it accuses too many, its own innocents are no draw of such
    models, or it contradicts itself, 11 too few models could be compared to say anything, 13
    signature wrong. With --retrain: 0 they are what the bundle says, 10 they are not, 11 they are
    not, but this machine is another.
    """
    return try_models(
        bundle_path,
        folder,
        trust=trust,
        with_changes=not as_they_are,
        require_sandbox=require_sandbox,
        as_json=as_json,
        quiet=quiet,
    )


def try_models(
    bundle_path: Path,
    folder: Path,
    *,
    trust: Sequence[Path],
    with_changes: bool,
    require_sandbox: bool,
    as_json: bool,
    quiet: bool,
    more_changes: "Callable[[BundleContents], Mapping[str, ModelChange]]" = lambda bundle: {},
) -> int:
    """Challenge a bundle with the models of a folder and print the result.

    Args:
        bundle_path: The claim.
        folder: The judge's models.
        trust: Public keys.
        with_changes: As of `audit.calibrating.challenge.challenge`.
        require_sandbox: Parse nothing outside of a full one.
        as_json: Print one document.
        quiet: No progress.
        more_changes: Takes the bundle, returns further ways in which models change.

    Returns:
        The exit status.
    """
    from adapters.onnx.process.limits import OnnxLimits
    from audit.bundle.bundle_file import read_bundle
    from audit.calibrating.challenge import Finding, challenge
    from audit.calibrating.model_folder import model_files
    from audit.commands.counting import counting
    from audit.exit_codes import ExitCode
    from audit.signing.keys import load_trust

    bundle = read_bundle(bundle_path, load_trust(trust))
    paths = model_files(folder)
    changes = more_changes(bundle)
    with counting("challenge", is_shown=not quiet) as on_step:
        found = challenge(
            bundle,
            paths,
            root=folder,
            with_changes=with_changes,
            more_changes=changes,
            limits=OnnxLimits(require_sandbox=require_sandbox),
            on_step=on_step,
        )
    status = {
        Finding.STANDS: ExitCode.OK,
        Finding.FAILS: ExitCode.DERIVED,
        Finding.OPEN: ExitCode.INCONCLUSIVE,
    }[found.finding]
    if as_json:
        import json

        click.echo(json_text(json.dumps(_document(found, status), indent=2)))
    else:
        _print(found)
    return status


def _document(found: "Challenge", status: int) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "finding": found.finding,
        "alpha": found.alpha,
        "num_models": found.tests[0].num_models,
        "num_needed": found.num_needed,
        "num_accused": found.tests[0].num_accused,
        "rate_interval": found.rate_interval,
        "p_value": found.tests[0].p_accused,
        "tests": [dataclasses.asdict(test) for test in found.tests],
        "untried": found.untried,
        "faults": found.faults,
        **({} if found.picks is None else {"line_up": _picks(found.picks)}),
        "models": [
            {
                "path": str(model.path),
                "digest": model.digest,
                **({} if model.same_as is None else {"same_as": str(model.same_as)}),
                "outcome": model.outcome.model_dump(mode="json"),
            }
            for model in found.models
        ],
        "left_out": [
            {"path": str(refusal.path), "reason": refusal.reason} for refusal in found.refusals
        ],
        "exit_code": status,
    }


def _picks(picks: "LineUpPicks") -> dict[str, object]:
    return {
        "counts": picks.counts,
        "source": picks.source,
        "p_source": picks.p_source,
        "p_most": picks.p_most,
    }


def _told_test(test: "ClaimTest") -> str:
    words = (
        f"{test.kind}: {test.num_accused} of {test.num_models} accused (p = {test.p_accused:.3g})"
    )
    if test.num_above is None:
        return f"{words}; their scores cannot be compared with those of the bundle's innocents."
    return (
        f"{words}, {test.num_above} above the bound of the bundle's own innocents "
        f"(p = {test.p_above:.3g}); ranked among those so high or higher by chance with "
        f"p = {test.p_higher:.3g}."
    )


def _print(found: "Challenge") -> None:
    from rich.markup import escape
    from rich.table import Table

    from audit.calibrating.challenge import Finding
    from audit.calibrating.challenge_words import told, told_picks
    from audit.commands.terminal.consoles import result_console

    console = result_console()
    table = Table("innocent model", box=None, pad_edge=False, header_style="bold")
    for title in ("controls", "score", "threshold", "called"):
        table.add_column(title, justify="left" if title == "called" else "right")
    for model in found.models:
        score = model.outcome.scores[0]
        above = score.derived_above
        table.add_row(
            escape(printable(str(model.path))),
            f"{model.outcome.control.accuracy:.0%}",
            f"{score.value:z.3f}",
            "-" if above is None else f"{above:z.3f}",
            model.outcome.verdict,
        )
    if found.models:
        console.print(table)
    for refusal in found.refusals:
        console.print(
            f"left out {printable(str(refusal.path))}: {refusal.reason}",
            markup=False,
            highlight=False,
        )
    for model in found.models:
        if model.same_as is not None:
            console.print(
                f"{printable(str(model.path))} is of the same network as "
                f"{printable(str(model.same_as))}, which counts.",
                markup=False,
                highlight=False,
            )
    first = found.tests[0]
    low, high = found.rate_interval
    finding = told(
        found.finding is Finding.OPEN,
        found.finding is Finding.FAILS,
        first.num_models,
        found.num_needed,
    )
    console.print(
        f"\n{finding} {first.num_accused} of {first.num_models} innocent models accused "
        f"(95 % interval of the rate {low:.1%} to {high:.1%}); the bundle allows "
        f"{found.alpha:.1%}.",
        markup=False,
        highlight=False,
    )
    for test in found.tests:
        console.print(_told_test(test), markup=False, highlight=False)
    if found.untried:
        kinds = ", ".join(found.untried)
        console.print(
            f"Not tried, or too few of your models can be compared then: {kinds}.",
            markup=False,
            highlight=False,
        )
    if found.picks is not None:
        console.print(told_picks(found.picks), markup=False, highlight=False)
    for fault in found.faults:
        console.print(f"Fault: {fault}", markup=False, highlight=False)
