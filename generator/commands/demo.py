"""``kinprint demo``: the main job on an embedded example."""

import time
from pathlib import Path

import click

from adapters.extras import require
from generator.errors import GenerationError


@click.command("demo", short_help="Craft, sign and audit the embedded example.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the bundle, keys, suspects and journal.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def command(out: Path, quiet: bool) -> int:
    """Craft a bundle from a small CIFAR-10 model, make suspects of it and audit them all.

    Takes about two minutes on two cores. Exit status 1 if a verdict is wrong.
    """
    require("torch", "onnxscript", by="demo", error=GenerationError)
    from audit.commands.verdict_table import print_verdicts
    from generator.commands.progress import StageProgress
    from generator.demo.run import run_demo

    out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with StageProgress(is_shown=not quiet) as progress:
        rows, truth = run_demo(out, report=progress.show)
    right = [row["outcome"]["verdict"] == known for row, known in zip(rows, truth, strict=True)]
    marks = [f"{known} {'ok' if ok else 'WRONG'}" for known, ok in zip(truth, right, strict=True)]
    print_verdicts(rows, extra={"in truth": marks})
    click.echo(
        f"\n{sum(right)} of {len(right)} verdicts right, {time.monotonic() - start:.0f} s. "
        f"Everything is in {out}/; look into the bundle with\n"
        f"  kinprint inspect {out}/demo.kinprint --trust {out}/owner.pub --images triggers.png"
    )
    return 0 if all(right) else 1
