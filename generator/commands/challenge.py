"""``kinprint challenge``: a judge's models against a bundle, or its innocents trained again."""

import dataclasses
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapters.extras import require
from adapters.printable import json_text, printable
from audit.commands.challenge import command as by_models
from audit.commands.challenge import try_models
from generator.errors import GenerationError

if TYPE_CHECKING:
    from generator.jobs.retrain import Retrained

SCHEMA_VERSION = 1
"""Of the JSON document of ``--retrain``."""

_PATH = click.Path(path_type=Path)
_OPTIONS = [
    click.Option(
        ["--fine-tune"],
        is_flag=True,
        help="With --onnx: also fine-tune each model a little on --images, and try the result.",
    ),
    click.Option(
        ["--retrain"],
        type=click.IntRange(1),
        metavar="N",
        help="Instead, train N of the bundle's innocents again, drawn at random, and compare.",
    ),
    click.Option(["--model-code"], help="With --retrain: the owner's network, file.py:factory."),
    click.Option(
        ["--images"],
        multiple=True,
        type=_PATH,
        help="With --retrain: the owner's, as for 'kinprint craft'. With --fine-tune: your own.",
    ),
    click.Option(["--held-out"], multiple=True, type=_PATH, help="With --retrain: likewise."),
    click.Option(["--classes"], help="Class names in the order of the bundle's."),
    click.Option(["--ancestor"], help="With --retrain: as for 'kinprint craft'."),
    click.Option(
        ["--draw"], type=click.IntRange(0), help="With --retrain: seed of the draw; it is told."
    ),
    click.Option(
        ["--device"],
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="With --retrain: where to train.",
    ),
]
_RETRAIN_ONLY = ("model_code", "held_out", "ancestor", "draw")


def _run(retrain: int | None, fine_tune: bool, **options: Any) -> int:
    own = {str(option.name): options.pop(str(option.name)) for option in _OPTIONS[2:]}
    if retrain is None:
        given = [name for name in _RETRAIN_ONLY if own[name] not in (None, ())]
        if given:
            raise click.UsageError(f"{_flag(given[0])} goes with --retrain")
        if options["folder"] is None:
            raise click.UsageError("expected --onnx DIR with innocent models, or --retrain N")
        return _try(fine_tune, own, options)
    if options["folder"] is not None or fine_tune:
        raise click.UsageError("--onnx and --retrain are two questions; ask one at a time")
    for name in ("model_code", "images"):
        if not own[name]:
            raise click.UsageError(f"--retrain takes {_flag(name)}, too")
    return _retrain(retrain, own, options)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _try(fine_tunes: bool, own: dict[str, Any], options: dict[str, Any]) -> int:
    with_changes = not options.pop("as_they_are")
    options["with_changes"] = with_changes
    if not fine_tunes:
        for name in ("images", "classes"):
            if own[name]:
                raise click.UsageError(f"{_flag(name)} goes with --retrain or --fine-tune")
        return try_models(**options)
    if not own["images"]:
        raise click.UsageError("--fine-tune takes --images, too: your own, of the bundle's classes")
    if options["require_sandbox"] or not with_changes:
        other = "--as-they-are" if not with_changes else "--require-sandbox"
        raise click.UsageError(
            f"--fine-tune and {other} exclude one another: what is fine-tuned is changed, and its "
            "file is read outside of any sandbox"
        )
    require("torch", by="challenge --fine-tune", error=GenerationError)
    from generator.jobs.tuned_strangers import fine_tuning

    def tell(text: str) -> None:
        click.echo(text, err=True)

    return try_models(
        **options,
        more_changes=lambda bundle: fine_tuning(
            bundle,
            own["images"],
            class_names=own["classes"].split(",") if own["classes"] else None,
            tell=tell,
        ),
    )


def _retrain(num: int, own: dict[str, Any], options: dict[str, Any]) -> int:
    require("torch", by="challenge --retrain", error=GenerationError)
    from audit.bundle.bundle_file import read_bundle
    from audit.exit_codes import ExitCode
    from audit.signing.keys import load_trust
    from generator.commands.progress import StageProgress
    from generator.jobs.retrain import OwnersThings, retrain

    bundle = read_bundle(options["bundle_path"], load_trust(options["trust"]))
    device: Literal["auto", "cpu", "cuda"] = own["device"]
    with StageProgress(is_shown=not options["quiet"]) as progress:
        found = retrain(
            bundle,
            OwnersThings(
                model=own["model_code"],
                images=own["images"],
                held_out=own["held_out"],
                class_names=own["classes"].split(",") if own["classes"] else None,
                ancestor=own["ancestor"],
            ),
            num,
            draw=secrets.randbits(31) if own["draw"] is None else own["draw"],
            device=device,
            on_step=lambda done, total: progress.show("innocents", done, total),
            tell=progress.tell,
        )
    status = ExitCode.DERIVED if found.num_other else ExitCode.OK
    if found.num_other and found.differences:
        status = ExitCode.INCONCLUSIVE
    if options["as_json"]:
        import json

        document = {
            "schema_version": SCHEMA_VERSION,
            **dataclasses.asdict(found),
            "exit_code": status,
        }
        click.echo(json_text(json.dumps(document, indent=2)))
    else:
        _print(found)
    return status


def _print(found: "Retrained") -> None:
    for one in found.innocents:
        click.echo(
            f"{printable(one.name)}: {one.likeness}, {one.num_agreeing} of {one.num_answers} "
            f"answers ({printable(one.provenance)})"
        )
    click.echo(f"Drawn with --draw {found.draw}.")
    if not found.num_other:
        click.echo("They are what the bundle says.")
        return
    click.echo(
        f"{found.num_other} of {len(found.innocents)} are not what the bundle says they are."
    )
    if found.differences:
        click.echo(
            "That may be this machine, which is not like the one that trained them: "
            f"{printable('; '.join(found.differences))}. Try again with the same."
        )


command = click.Command(
    "challenge",
    params=[*by_models.params, *_OPTIONS],
    callback=_run,
    help=by_models.help,
    short_help=by_models.short_help,
)
