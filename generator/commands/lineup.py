"""``kinprint lineup``: siblings of the source, and a bundle in which it stands among them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapters.extras import require
from generator.errors import GenerationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from audit.bundle.line_up import LineUp
    from audit.bundle.manifest import BundleContents, Manifest
    from generator.images.reading import Reading
    from generator.jobs.line_up_members import Members
    from generator.pools.siblings import SeedOrigin, Sibling, SiblingRun

_PATH = click.Path(path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("lineup", short_help="Let the source stand among siblings of the same training.")
@click.argument("bundle_path", metavar="BUNDLE", type=_EXISTING)
@click.option("--model", help="As for 'kinprint craft'; not for ONNX files.")
@click.option(
    "--source", required=True, type=_EXISTING, help="The source's weights, or its ONNX file."
)
@click.option(
    "--train",
    "template",
    metavar="COMMAND",
    help="Your own training with other seeds: 'python train.py --seed {seed} --out {weights}'.",
)
@click.option("--weights", "runs", metavar="DIR", type=_PATH, help="Runs that you have anyway.")
@click.option(
    "--recipe", metavar="DIR", multiple=True, type=_PATH, help="Class folders to train on instead."
)
@click.option("--epochs", type=click.FloatRange(0, 1000, min_open=True), default=12.0)
@click.option("--learning-rate", type=click.FloatRange(0, 10, min_open=True), default=0.1)
@click.option(
    "--seed-from",
    metavar="VALUE",
    help="Public value from which the siblings' seeds follow; see docs/line-up.md.",
)
@click.option("--num", "--num-siblings", "num", type=click.IntRange(1, 999), default=19)
@click.option("--parallel", type=click.IntRange(1, 64), default=1, help="Runs of --train at once.")
@click.option("--work", metavar="DIR", type=_PATH, help="Where siblings go (beside --out).")
@click.option(
    "--images",
    multiple=True,
    required=True,
    type=_PATH,
    help="Natural images, without classes, that no member was trained on.",
)
@click.option(
    "--trained-on", multiple=True, type=_PATH, help="Images that were, to be left out of these."
)
@click.option(
    "--panel",
    required=True,
    metavar="DIR",
    type=_PATH,
    help="ONNX files of innocents, DIR/KIND/*.onnx or DIR/KIND/NETWORK/*.onnx.",
)
@click.option("--derived", metavar="DIR", type=_PATH, help="Likewise of models from the source.")
@click.option("--questions", type=click.IntRange(20, 100_000), default=1000, show_default=True)
@click.option(
    "--decides", is_flag=True, help="Let the line-up decide alone, without crafted queries before."
)
@click.option(
    "--rank-among-innocents",
    is_flag=True,
    help="Take a line-up that is not fair or too small: it only ranks the lead among the panel.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--key", "key_path", required=True, metavar="KEY", type=_EXISTING)
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--out", required=True, metavar="OUT.kinprint", type=_PATH)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    bundle_path: Path,
    key_path: Path,
    passphrase_env: str | None,
    out: Path,
    decides: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Make siblings of the source of BUNDLE and put it among them.

    Whatever an innocent model is, it was made without knowing which seed became the source, so
    that it resembles the source more than all siblings with probability 1 / (number + 1) at most.
    That is exact if your own training command makes the siblings and none is left out. Seeds
    follow from a commitment in the --work folder; interrupted, the same command goes on.

    Several processes share the runs: torchrun --nproc-per-node 4 -m kinprint lineup.
    """
    require("torch", by="lineup", error=GenerationError)
    from audit.bundle.bundle_file import creation_time, read_bundle, write_bundle
    from audit.commands.terminal.passphrase import passphrase_from
    from audit.signing.keys import Trust, load_private_key, load_trust
    from audit.verdict.sharing import usual_steps
    from generator.commands.progress import StageProgress
    from generator.images.reading import load_unlabelled
    from generator.jobs.line_up import LineUpSettings, check_size, make_line_up
    from generator.jobs.line_up_members import check_source
    from generator.training.ranks import together

    key = load_private_key(key_path, passphrase_from(passphrase_env))
    trusted = Trust(keys=(*load_trust(()).keys, key.public_key))
    bundle = read_bundle(bundle_path, trusted)
    if not out.absolute().parent.is_dir():
        raise GenerationError(f"out: there is no folder {out.absolute().parent}")
    settings = LineUpSettings(
        num_questions=options["questions"],
        ranks_among_innocents=options["rank_among_innocents"],
    )
    check_source(bundle, options["source"])
    if options["runs"] is None:
        check_size(bundle.manifest.alpha, options["num"], settings)
    reading = _reading(bundle)
    images, _ = load_unlabelled(options["images"], reading)
    trained_on = None
    # Kinprint's own recipe trains on these, whatever the owner says.
    known = [*options["trained_on"], *options["recipe"]]
    if known:
        trained_on, _ = load_unlabelled(known, reading)
    with (
        together(options["device"]) as ranks,
        StageProgress(is_shown=ranks.is_first and not quiet) as progress,
    ):
        members = _members(bundle, out, options, progress.show)
        if not ranks.is_first:
            return
        line_up = make_line_up(
            bundle,
            members,
            images,
            options["panel"],
            options["derived"],
            settings,
            trained_on=trained_on,
            report=progress.show,
            tell=progress.tell,
        )
    # A bundle that a line-up decides already stays one: crafted queries it may have none.
    decides = decides or bundle.manifest.default_score == "line-up"
    steps = (
        None if decides else usual_steps(bundle.manifest, num_members=len(line_up.record.members))
    )
    score = "line-up" if decides else bundle.manifest.default_score
    manifest = bundle.manifest.model_copy(
        update={"created": creation_time(), "default_score": score, "steps": steps}
    )
    digest = write_bundle(out, manifest, bundle.arrays, key, line_up, bundle.weights)
    click.echo(str(out))
    for sentence in (*_summary(digest, line_up), _decides(manifest)):
        click.echo(sentence, err=True)


def _members(
    bundle: "BundleContents",
    out: Path,
    options: dict[str, Any],
    report: "Callable[[str, int, int], None]",
) -> "Members":
    """Make or find the siblings, by the one way that was chosen."""
    from generator.jobs.line_up_members import Members
    from generator.pools.siblings import given_siblings, train_by_command

    template, runs, recipe = options["template"], options["runs"], options["recipe"]
    if sum(map(bool, (template, runs, recipe))) != 1:
        raise GenerationError(
            "siblings: expected one of --train COMMAND, --weights DIR and --recipe DIR"
        )
    source: Path = options["source"]
    if runs is not None:
        siblings = given_siblings(runs, source)
        made_by: Literal["command", "weights", "recipe"] = "weights"
        how, commitment = f"{len(siblings)} runs given by the owner", None
        if options["seed_from"] is not None:
            raise GenerationError(
                "seed-from: expected siblings that are trained here, got --weights, whose seeds "
                "were there before; leave one of the two out"
            )
    else:
        folder = options["work"] or out.with_suffix(".siblings")

        def on_step(done: int, total: int) -> None:
            report("siblings", done, total)

        if template:
            run, siblings = train_by_command(
                folder,
                template,
                num_siblings=options["num"],
                suffix=source.suffix,
                origin=_origin(bundle, options),
                num_parallel=options["parallel"],
                on_step=on_step,
            )
        else:
            run, siblings = _by_recipe(bundle, folder, options, on_step)
        made_by, how, commitment = run.made_by, run.made_how, run.seed_commitment
    return Members(
        source=source,
        siblings=tuple(siblings),
        model=options["model"],
        made_by=made_by,
        made_how=how,
        seed_commitment=commitment,
        seed_from=options["seed_from"],
        device=options["device"],
    )


def _reading(bundle: "BundleContents") -> "Reading":
    """Return how the bundle's owner reads images."""
    from generator.images.reading import Reading
    from generator.sources.contract import InputContract

    contract = InputContract.of(bundle.manifest.preprocessing)
    return Reading(geometry=contract.geometry, channels=bundle.manifest.task.channels)


def _origin(bundle: "BundleContents", options: dict[str, Any]) -> "SeedOrigin":
    from generator.pools.siblings import SeedOrigin

    return SeedOrigin(
        source_sha256=bundle.manifest.source.weights_sha256, public_value=options["seed_from"]
    )


def _by_recipe(
    bundle: "BundleContents",
    folder: Path,
    options: dict[str, Any],
    on_step: "Callable[[int, int], None]",
) -> "tuple[SiblingRun, list[Sibling]]":
    from generator.images.reading import load_images
    from generator.pools.siblings import train_by_recipe
    from generator.sources.contract import InputContract
    from generator.sources.source import load_source
    from generator.training.device import prepare_device
    from generator.training.loop import TrainingRecipe

    if options["model"] is None:
        raise GenerationError("model: expected --model file.py:factory with --recipe")
    contract = InputContract.of(bundle.manifest.preprocessing)
    source = load_source(options["model"], options["source"], contract=contract)
    source.model.to(prepare_device(options["device"]))
    data, _ = load_images(
        options["recipe"],
        class_names=bundle.manifest.task.class_names,
        reading=_reading(bundle),
    )
    recipe = TrainingRecipe(
        epochs=options["epochs"],
        learning_rate=options["learning_rate"],
        batch_size=min(128, max(16, len(data) // 20)),
    )
    return train_by_recipe(
        folder,
        source,
        data,
        recipe,
        num_siblings=options["num"],
        origin=_origin(bundle, options),
        on_step=on_step,
    )


def _decides(manifest: "Manifest") -> str:
    steps = manifest.steps
    if steps is not None:
        return (
            "audits ask the crafted queries first and then, unless these say derived, the line-up; "
            f"an innocent model is called derived at a rate of {steps.alpha:.3g} at most: "
            f"{steps.crafted_alpha:.3g} by the queries, {steps.line_up_alpha:.3g} by the line-up"
        )
    if manifest.default_score == "line-up":
        return f"the line-up decides at an alpha of {manifest.alpha:g}"
    return (
        f"with an alpha of {manifest.alpha:g} for each, two steps would accuse too many innocents: "
        f"{manifest.default_score} decides alone, and --score line-up asks the line-up"
    )


def _summary(digest: str, line_up: "LineUp") -> list[str]:
    from audit.bundle.line_up import MADE_BY
    from audit.verdict.line_up_models import power_of

    record = line_up.record
    num_lineages = len({model.lineage for model in record.panel})
    told = [
        f"bundle {digest[:16]}: the source among {record.num_siblings} siblings, made by "
        f"{MADE_BY[record.made_by]}; smallest p {1 / len(record.members):.3g}",
        f"{len(line_up.arrays.questions)} questions; an audit that may stop early ends when "
        f"somebody leads by {record.lead_bound:g} nats; a panel of {len(record.panel)} innocents "
        f"from {num_lineages} networks",
    ]
    if len(record.models) > len(record.panel):
        kinds = ", ".join(
            f"{one.num_found} of {one.num_models} ({kind})"
            for kind, one in power_of(line_up).items()
        )
        told.append(f"derived models that it finds: {kinds}")
    else:
        told.append(
            "no --derived models: no audit can say what the line-up would find, nor call a "
            "suspect independent by it"
        )
    return told
