"""``kinprint calibrate``: more models into a bundle, so that it can claim a smaller error rate."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.printable import json_text
from audit.commands.option_groups import sandbox_option

if TYPE_CHECKING:
    from audit.bundle.manifest import BundleContents
    from audit.calibrating.recalibrate import NewModel, Recalibrated, Role

SCHEMA_VERSION = 1
"""Of the JSON document."""

_FOLDER = click.Path(path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("calibrate", short_help="Add innocent and derived models to a bundle.")
@click.argument("bundle_path", metavar="BUNDLE", type=_EXISTING)
@click.option(
    "--innocent",
    "innocent_folder",
    metavar="DIR",
    type=_FOLDER,
    help="ONNX files of models that are surely not derived; a folder in it names a kind.",
)
@click.option(
    "--derived", "derived_folder", metavar="DIR", type=_FOLDER, help="ONNX files that surely are."
)
@click.option("--alpha", type=float, help="New false-positive rate; by default the bundle's.")
@click.option("--beta", type=float, help="New miss rate; by default the bundle's.")
@click.option(
    "--report-share",
    type=float,
    default=0.25,
    show_default=True,
    help="Share of the innocents that only reports how often the new bundle is wrong.",
)
@click.option(
    "--keep-outliers",
    is_flag=True,
    help="Calibrate by innocents that score like derived models, too.",
)
@click.option("--key", "key_path", metavar="KEY", required=True, type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that signed BUNDLE.")
@click.option(
    "--out", required=True, metavar="OUT.kinprint", type=click.Path(dir_okay=False, path_type=Path)
)
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    bundle_path: Path,
    innocent_folder: Path | None,
    derived_folder: Path | None,
    alpha: float | None,
    beta: float | None,
    report_share: float,
    keep_outliers: bool,
    key_path: Path,
    passphrase_env: str | None,
    trust: tuple[Path, ...],
    out: Path,
    require_sandbox: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask more models BUNDLE's questions, set its error rates by all of them, sign it again.

    The queries stay as they are, and so does what the models of BUNDLE answered. An innocent that
    scores like derived models ends the command: if it is derived, calibrating by it would hide a
    theft.
    """
    from audit.bundle.bundle_file import creation_time, read_bundle, write_bundle
    from audit.calibrating.lineages import declared_place
    from audit.calibrating.model_folder import model_files
    from audit.calibrating.recalibrate import (
        outliers,
        recalibrate,
        require_reachable,
        without_known,
    )
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.errors import AuditError
    from audit.signing.keys import Trust, load_private_key, load_trust

    folders: list[tuple[Role, Path]] = []
    if innocent_folder is not None:
        folders.append(("innocent", innocent_folder))
    if derived_folder is not None:
        folders.append(("derived", derived_folder))
    if not folders:
        raise click.UsageError("no models: give --innocent DIR or --derived DIR")
    key = load_private_key(key_path, passphrase_from(passphrase_env))
    trusted = load_trust(trust)
    bundle = read_bundle(bundle_path, Trust(keys=(*trusted.keys, key.public_key)))
    paths = [(role, folder, model_files(folder)) for role, folder in folders]
    require_reachable(
        bundle,
        [(role, *declared_place(path, folder)) for role, folder, found in paths for path in found],
        alpha=alpha,
        beta=beta,
        report_share=report_share,
    )
    asked, told = _ask(bundle, paths, require_sandbox=require_sandbox, is_shown=not quiet)
    models, known = without_known(bundle, asked)
    for sentence in (*told, *known):
        click.echo(f"left out: {sentence}", err=True)
    accused = outliers(bundle, models)
    if accused and not keep_outliers:
        names = ", ".join(str(model.answers.path) for model in accused)
        raise AuditError(
            f"innocent: expected models that are not derived, but {len(accused)} of {len(models)} "
            f"score like derived ones: {names}. Take out what may come from the source; "
            "--keep-outliers calibrates by all of them"
        )
    if not models:
        raise AuditError("models: expected at least one new model that can be compared, got none")
    made = recalibrate(
        bundle,
        models,
        alpha=alpha,
        beta=beta,
        report_share=report_share,
        created=creation_time(),
    )
    for joined in made.joined:
        click.echo(f"one lineage: {joined}", err=True)
    digest = write_bundle(out, made.manifest, made.arrays, key, bundle.line_up, made.weights)
    _print(made, digest, as_json=as_json)


def _ask(
    bundle: "BundleContents",
    files: "list[tuple[Role, Path, tuple[Path, ...]]]",
    *,
    require_sandbox: bool,
    is_shown: bool,
) -> "tuple[list[NewModel], list[str]]":
    from adapters.onnx.process.limits import OnnxLimits
    from adapters.suspect import SuspectError
    from audit.calibrating.lineages import declared_place
    from audit.calibrating.model_folder import PanelRefusal, ask_everything, open_panel
    from audit.calibrating.recalibrate import NewModel
    from audit.commands.counting import counting

    models, told = [], []
    limits = OnnxLimits(require_sandbox=require_sandbox)
    for role, folder, paths in files:
        with counting(f"{role} models", is_shown=is_shown) as on_step:
            for done, (path, suspect) in enumerate(open_panel(bundle, paths, limits), start=1):
                try:
                    if isinstance(suspect, PanelRefusal):
                        told.append(f"{path}: {suspect.reason}")
                        continue
                    stratum, lineage = declared_place(path, folder)
                    models.append(
                        NewModel(
                            role=role,
                            stratum=stratum,
                            lineage=lineage if role == "innocent" else None,
                            answers=ask_everything(bundle, suspect, path),
                        )
                    )
                except SuspectError as error:
                    told.append(f"{path}: {error}")
                finally:
                    on_step(done, len(paths))
    return models, told


def _print(made: "Recalibrated", digest: str, *, as_json: bool) -> None:
    from audit.verdict.populations import num_lineages

    roles = [model.role for model in made.manifest.calibration_models]
    held_out = made.false_positives
    if as_json:
        import dataclasses
        import json

        document = {
            "schema_version": SCHEMA_VERSION,
            "bundle": digest,
            "alpha": made.rule.alpha,
            "beta": made.rule.beta,
            "num_innocents": roles.count("innocent"),
            "num_lineages": num_lineages(made.manifest),
            "num_derived": roles.count("derived"),
            "tau": None if made.tau is None else dataclasses.asdict(made.tau),
            "held_out": None if held_out is None else dataclasses.asdict(held_out),
        }
        click.echo(json_text(json.dumps(document, indent=2)))
        return
    lineages = num_lineages(made.manifest)
    of_lineages = "" if lineages == roles.count("innocent") else f" of {lineages} lineages"
    click.echo(
        f"bundle {digest[:16]}: {roles.count('innocent')} innocents{of_lineages} and "
        f"{roles.count('derived')} derived models calibrate; alpha {made.rule.alpha:g}, beta "
        f"{made.rule.beta:g}"
    )
    if made.tau is not None:
        kept = "stays" if made.tau.tau == made.tau.before else f"instead of {made.tau.before:g}"
        click.echo(
            f"tau {made.tau.tau:g} {kept}: on these models MFUE's scores have an AUC of "
            f"{made.tau.auc:z.3f} with it"
            + ("" if kept == "stays" else f", {made.tau.auc_before:z.3f} before")
        )
    if held_out is not None:
        low, high = held_out.interval
        click.echo(
            f"held out: {held_out.num_wrong} of {held_out.num_models} innocents called derived "
            f"(95 % interval of the rate {low:.1%} to {high:.1%})"
        )
