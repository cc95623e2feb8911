"""``kinprint craft``: from a trained model and labelled images to a signed bundle."""

from pathlib import Path
from typing import Any

import click

from adapters.extras import require
from generator.errors import GenerationError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PATH = click.Path(path_type=Path)


@click.command("craft", short_help="Craft a signed trigger bundle from your model.")
@click.option("--config", "config_path", type=_FILE, help="TOML with the same fields as below.")
@click.option("--model", help="file.py:factory, timm:NAME, model.onnx, ...; see docs/crafting.md.")
@click.option("--weights", type=_PATH, help=".safetensors, or a checkpoint of tensors.")
@click.option(
    "--ancestor",
    metavar="WHAT",
    help="Public checkpoint that the model was fine-tuned from: weights, timm:NAME, ...; or none.",
)
@click.option("--method", metavar="NAME", help="Fingerprint method (mfue); see docs/methods.md.")
@click.option(
    "--option",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of a method that is not mfue; repeatable.",
)
@click.option("--normalise", help="Mean/std per channel in [0, 1] units: .49,.48,.45/.25,.24,.26")
@click.option(
    "--preprocess",
    metavar="WHAT",
    help="torchvision:WEIGHTS, timm:NAME, hf:FOLDER or a TOML file; see docs/crafting.md.",
)
@click.option("--images", multiple=True, type=_PATH, help="Class folders, ZIP, tar, list, parquet.")
@click.option(
    "--held-out",
    multiple=True,
    type=_PATH,
    help="The same, with images that the model was not trained on.",
)
@click.option("--classes", help="Class names in the model's order, comma-separated.")
@click.option("--out", type=_PATH, help="Bundle to write (.kinprint).")
@click.option("--key", type=_PATH, help="Private key of 'kinprint keygen'.")
@click.option("--passphrase-env", metavar="NAME", help="Variable with the key's passphrase.")
@click.option("--name", help="What to call the model.")
@click.option("--owner", help="Who owns it.")
@click.option("--references", type=_PATH, help="Folder of ONNX files of innocent models.")
@click.option(
    "--train-references", type=int, help="Innocents to train; by default as many as alpha needs."
)
@click.option("--reference-epochs", type=float, help="Epochs of a trained reference (12).")
@click.option("--reference-learning-rate", type=float, help="Its peak learning rate (0.1).")
@click.option("--student-epochs", type=float, help="Also craft against extracted models (0: none).")
@click.option("--student-learning-rate", type=float, help="Their peak learning rate (0.1).")
@click.option("--triggers", "num_triggers", type=int, help="MFUE triggers (100).")
@click.option("--queries", "num_queries", type=int, help="Queries, or images of the method (100).")
@click.option(
    "--scores",
    metavar="NAMES",
    help="What MFUE's bundle is made for, such as likelihood-ratio,rank-correlation (all).",
)
@click.option(
    "--packs",
    "num_packs",
    type=int,
    help="Bundles with queries of their own, to use in public one by one (1).",
)
@click.option("--probes", type=click.Choice(["ascent", "noise"]), help="Kind of probes (ascent).")
@click.option(
    "--candidates",
    type=click.Choice(["best", "mixed", "natural", "triggers", "contrast"]),
    help="Which images may become queries (best).",
)
@click.option("--num-probes", type=int, help="Probes per trigger (100).")
@click.option(
    "--alpha",
    type=float,
    help="False-positive rate of the verdict (0.05 if the innocents given carry it, else 0.1).",
)
@click.option("--beta", type=float, help="Miss rate of the verdict (0.1).")
@click.option("--seed", type=int, help="Source of every random draw (0).")
@click.option(
    "--seed-from",
    metavar="VALUE",
    help="Public value from which the references' seed follows, so that others can train them "
    "again; see docs/crafting.md.",
)
@click.option("--max-images", type=int, help="Train models on so many images.")
@click.option("--skip-unreadable", is_flag=True, default=None, help="Leave out broken images.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where (auto).")
@click.option("--created", help="Time to write into the bundle, YYYY-MM-DDTHH:MM:SSZ.")
@click.option("--work", type=_PATH, help="Folder for what is finished (beside --out).")
@click.option(
    "--sketch",
    is_flag=True,
    default=None,
    help="Write a sketch of the weights, by which files are judged, too.",
)
@click.option("--budget", metavar="TIME", help="Make the run fit into a time, such as 2h.")
@click.option("--plan", "is_plan", is_flag=True, help="Say what would be done, and how long.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(config_path: Path | None, is_plan: bool, quiet: bool, **options: Any) -> int:
    """Craft a trigger bundle, sign it and write it to --out.

    Give the model's architecture and weights, the images it was trained on and, better, images it
    was not trained on. Interrupted, the same command goes on from its checkpoints.

    Several processes or CUDA devices share the work: torchrun --nproc-per-node 4 -m kinprint craft.
    """
    require("torch", by="craft", error=GenerationError)
    from generator.commands.progress import StageProgress
    from generator.jobs.craft_run import plan_job, run_job
    from generator.jobs.crafting import read_job
    from generator.training.ranks import together

    job = read_job(config_path, options)
    with (
        together(job.device) as ranks,
        StageProgress(is_shown=ranks.is_first and not quiet) as progress,
    ):
        if is_plan:
            lines = plan_job(job, tell=progress.tell)
        else:
            done = run_job(job, report=progress.show, tell=progress.tell)
    if is_plan:
        if ranks.is_first:
            click.echo("\n".join(lines))
        return 0
    if ranks.is_first:
        click.echo("\n".join(map(str, job.outputs)))
        click.echo(done, err=True)
    return 0
