"""``kinprint export-onnx``: a PyTorch model as an ONNX file that needs no explanation."""

from pathlib import Path

import click

from adapters.extras import require
from generator.errors import GenerationError

_PATH = click.Path(path_type=Path)


@click.command("export-onnx", short_help="Write your model as an ONNX file that explains itself.")
@click.option("--model", required=True, help="As for 'kinprint craft'.")
@click.option("--weights", type=_PATH, help="As for 'kinprint craft'.")
@click.option("--normalise", help="As for 'kinprint craft'.")
@click.option("--preprocess", help="As for 'kinprint craft'.")
@click.option("--images", multiple=True, required=True, type=_PATH, help="Likewise; repeatable.")
@click.option("--classes", help="Class names in the model's order, comma-separated.")
@click.option("--out", required=True, metavar="MODEL.onnx", type=_PATH, help="Where it goes.")
def command(
    model: str,
    weights: Path | None,
    normalise: str | None,
    preprocess: str | None,
    images: tuple[Path, ...],
    classes: str | None,
    out: Path,
) -> None:
    """Write a model to --out, with its normalisation, colour order and class names inside.

    Model and file are compared on some of the images first: a file that answers otherwise is not
    written.
    """
    require("torch", "onnxscript", by="export-onnx", error=GenerationError)
    from generator.jobs.onnx_file import export_model

    done = export_model(
        model=model,
        weights=weights,
        normalise=normalise,
        preprocess=preprocess,
        images=images,
        classes=classes,
        out=out,
        tell=lambda text: click.echo(text, err=True),
    )
    click.echo(str(out))
    click.echo(
        f"answers like the model on all of {done.num_compared} images, {done.accuracy:.1%} right",
        err=True,
    )
