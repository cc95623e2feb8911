"""``kinprint references``: innocent models from the owner's images."""

from pathlib import Path
from typing import Literal

import click

from adapters.extras import require
from generator.errors import GenerationError

_PATH = click.Path(path_type=Path)


@click.command("references", short_help="Train innocent models to compare with.")
@click.option("--model", required=True, help="As for 'kinprint craft'.")
@click.option("--weights", type=_PATH, help="As for 'kinprint craft'.")
@click.option("--normalise", help="As for 'kinprint craft'.")
@click.option("--preprocess", help="As for 'kinprint craft'.")
@click.option("--ancestor", help="As for 'kinprint craft'.")
@click.option("--images", multiple=True, required=True, type=_PATH, help="Likewise; repeatable.")
@click.option("--classes", help="Class names in the model's order, comma-separated.")
@click.option("--out", "folder", required=True, metavar="DIR", type=_PATH, help="Where they go.")
# The long name is for torchrun, which takes --num for one of its own options.
@click.option(
    "--num",
    "--num-references",
    "num",
    type=click.IntRange(1, 10_000),
    default=18,
    show_default=True,
)
@click.option("--epochs", type=click.FloatRange(0, 1000, min_open=True), default=12.0)
@click.option("--learning-rate", type=click.FloatRange(0, 10, min_open=True), default=0.1)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--max-images", type=click.IntRange(2), help="Train on so many images.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    model: str,
    weights: Path | None,
    normalise: str | None,
    preprocess: str | None,
    ancestor: str | None,
    images: tuple[Path, ...],
    classes: str | None,
    folder: Path,
    num: int,
    epochs: float,
    learning_rate: float,
    seed: int,
    max_images: int | None,
    device: Literal["auto", "cpu", "cuda"],
    quiet: bool,
) -> None:
    """Train innocents of many kinds from scratch: siblings of the source, other architectures,
    weak, adversarially trained, distilled, pruned and fine-tuned ones.

    DIR serves 'craft --references', 'calibrate --innocent' and 'challenge --onnx'. Interrupted,
    the same command goes on with the model that was not finished. Several processes or CUDA
    devices share the work: torchrun --nproc-per-node 4 -m kinprint
    references (with --num-references for --num).
    """  # noqa: D205
    require("torch", "onnxscript", by="references", error=GenerationError)
    from generator.commands.progress import StageProgress
    from generator.jobs.references import run_reference_job
    from generator.pools.reference_kinds import ReferenceRecipe
    from generator.training.ranks import together

    with (
        together(device) as ranks,
        StageProgress(is_shown=ranks.is_first and not quiet) as progress,
    ):
        num_found = run_reference_job(
            model=model,
            weights=weights,
            normalise=normalise,
            preprocess=preprocess,
            ancestor=ancestor,
            images=images,
            classes=classes,
            folder=folder,
            num_references=num,
            recipe=ReferenceRecipe(epochs=epochs, learning_rate=learning_rate, seed=seed),
            max_images=max_images,
            device=device,
            on_step=lambda done, total: progress.show("references", done, total),
            tell=progress.tell,
        )
    if ranks.is_first:
        click.echo(str(folder))
        click.echo(f"{num} references, {num_found} of them were there already", err=True)
