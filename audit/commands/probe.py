"""``kinprint probe``: what an ONNX file is, and how it wants its images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapters.printable import json_text, printable
from audit.commands.option_groups import sandbox_option
from audit.commands.terminal.next_command import next_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adapters.onnx.suspect import OnnxSuspect
    from audit.bundle.manifest import BundleContents
    from audit.suspects.preprocessing_search import Candidate, RankedPreprocessing

SCHEMA_VERSION = 1
"""Of the JSON document."""

MAX_ROWS = 12
"""Rows of the table for people; the JSON document has all."""

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("probe", short_help="Say what an ONNX file is and how it wants its images.")
@click.option("--onnx", "path", required=True, type=_EXISTING, help="The ONNX file.")
@click.option(
    "--bundle",
    "bundle_path",
    type=_EXISTING,
    help="Bundle whose control images tell which preprocessing is right.",
)
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that may have signed.")
@click.option("--output", help="Name of the output with the classes.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@sandbox_option
@click.option(
    "--out",
    "out_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the best preprocessing as a suspect file (TOML); needs --bundle.",
)
@click.option("--force", is_flag=True, help="Replace the suspect file if there is one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    path: Path,
    bundle_path: Path | None,
    trust: tuple[Path, ...],
    output: str | None,
    device: Literal["auto", "cpu", "cuda"],
    require_sandbox: bool,
    out_path: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Describe an ONNX file and, with a bundle, find out how it wants its images.

    The usual normalisations, colour orders and ways of resizing are tried on the bundle's control
    images. Candidates that the images cannot tell apart are marked as ties.
    """
    if out_path is not None and bundle_path is None:
        raise click.UsageError("--out needs --bundle: without images nothing is known to write")
    if out_path is not None and out_path.exists() and not force:
        raise click.UsageError(f"{out_path} exists; --force replaces it")
    if out_path is not None and not out_path.parent.is_dir():
        raise click.UsageError(f"--out: there is no folder {out_path.parent}")
    from adapters.onnx.opening import open_onnx
    from adapters.onnx.process.limits import OnnxLimits
    from audit.bundle.bundle_file import read_bundle
    from audit.signing.keys import load_trust
    from audit.suspects.opening import control_images

    bundle = read_bundle(bundle_path, load_trust(trust)) if bundle_path is not None else None
    shape, num_classes = None, None
    if bundle is not None:
        task = bundle.manifest.task
        shape, num_classes = (task.height, task.width, task.channels), task.num_classes
    with open_onnx(
        path,
        image_shape=shape,
        num_classes=num_classes,
        device=device,
        output=output,
        allow_random=True,
        controls=control_images(bundle) if bundle is not None else None,
        limits=OnnxLimits(require_sandbox=require_sandbox),
    ) as suspect:
        ranking = _rank(suspect, bundle, printable(path.name), is_shown=not quiet) if bundle else ()
        if out_path is not None:
            _write(suspect, ranking, path, out_path)
        if as_json:
            import json

            click.echo(json_text(json.dumps(_document(suspect, ranking), indent=2)))
        else:
            labels = None if bundle is None else bundle.arrays.control_labels
            _print(suspect, ranking, labels)
    if out_path is not None:
        assert bundle_path is not None
        then = next_command("audit", bundle_path, "--suspect", out_path, trust=trust)
        click.echo(f"wrote {out_path}; audit with: {then}", err=True)


def _rank(
    suspect: "OnnxSuspect", bundle: "BundleContents", name: str, *, is_shown: bool
) -> "tuple[RankedPreprocessing, ...]":
    from rich.progress import TaskProgressColumn, TimeRemainingColumn

    from adapters.onnx.metadata import recipe_from_metadata
    from audit.commands.terminal.consoles import Bars
    from audit.suspects.opening import contract_options
    from audit.suspects.preprocessing_search import Candidate, rank_preprocessings

    known = [Candidate(name="the bundle's", options=contract_options(bundle))]
    from_file = recipe_from_metadata(suspect.description.metadata)
    if from_file is not None:
        known.append(Candidate(name="the file's metadata", options=from_file))
    with Bars(TaskProgressColumn(), TimeRemainingColumn(), is_shown=is_shown) as bar:
        task = bar.add_task(name, total=None)

        def told(candidate: "Candidate") -> None:
            bar.update(task, advance=1, description=f"{name}: {candidate.name}")

        return rank_preprocessings(
            suspect,
            bundle.arrays.controls,
            bundle.arrays.control_labels,
            known=known,
            on_tried=told,
        )


def _write(
    suspect: "OnnxSuspect",
    ranking: "tuple[RankedPreprocessing, ...]",
    onnx_path: Path,
    out_path: Path,
) -> None:
    import os
    from dataclasses import asdict

    from adapters.onnx.suspect_file import ModelTable, PreprocessingTable, SuspectFile, to_toml
    from audit.atomic_file import write_atomically

    best = ranking[0]
    tied = [row.name for row in ranking[1:] if row.is_tied]
    comments = [
        f"Preprocessing: {best.name}",
        f"{best.num_correct} of {best.num_images} control images right.",
    ]
    if tied:
        comments.append(f"The images cannot tell it from {len(tied)} others:")
        comments += [f"  {name}" for name in tied[:MAX_ROWS]]
    if not suspect.trial.is_repeatable:
        comments.append("The model answers differently each time, hence allow_random.")
    described = SuspectFile(
        model=ModelTable(
            file=os.path.relpath(onnx_path, out_path.parent),
            sha256=suspect.identity.digest,
            output=suspect.trial.output,
            output_kind=suspect.trial.kind,
            allow_random=not suspect.trial.is_repeatable,
        ),
        preprocessing=PreprocessingTable(**asdict(best.options)),
    )
    try:
        write_atomically(out_path, [to_toml(described, tuple(comments)).encode()])
    except OSError as error:
        raise click.FileError(str(out_path), error.strerror) from error


def _document(suspect: "OnnxSuspect", ranking: "tuple[RankedPreprocessing, ...]") -> dict[str, Any]:
    from dataclasses import asdict

    from adapters.onnx.metadata import classes_from_metadata

    return {
        "schema_version": SCHEMA_VERSION,
        "file": {
            "name": suspect.identity.name,
            "sha256": suspect.identity.digest,
            "bytes": suspect.file_bytes,
            **asdict(suspect.description),
            "network": suspect.identity.details["network"],
        },
        "answers": {
            name: value for name, value in vars(suspect.trial).items() if name != "reading"
        },
        "classes": classes_from_metadata(suspect.description.metadata),
        "details": suspect.identity.details,
        "preprocessings": [
            {**asdict(row), "accuracy": row.accuracy, "rank": rank}
            for rank, row in zip(_ranks(ranking), ranking, strict=True)
        ],
    }


def _ranks(ranking: "tuple[RankedPreprocessing, ...]") -> list[int]:
    """Return 1 for the best and all that are tied with it, then places."""
    return [1 if row.is_tied else place for place, row in enumerate(ranking, start=1)]


def _print(
    suspect: "OnnxSuspect",
    ranking: "tuple[RankedPreprocessing, ...]",
    labels: "NDArray[np.int64] | None",
) -> None:
    import numpy as np
    from rich.table import Table

    from adapters.onnx.metadata import classes_from_metadata
    from audit.commands.terminal.consoles import PrintableConsole
    from audit.verdict.guessing import near_chance

    console = PrintableConsole(highlight=False, markup=False, soft_wrap=True)
    told, trial = suspect.description, suspect.trial
    classes = classes_from_metadata(told.metadata)
    operators = ", ".join(f"{name} {count}" for name, count in list(told.operators.items())[:12])
    lines = {
        "file": f"{suspect.identity.name}, {suspect.file_bytes:,} bytes",
        "sha256": suspect.identity.digest,
        "made by": f"{told.producer or 'unknown'}; opset {told.opset}, IR {told.ir_version}",
        "input": f"{suspect.image_input.name}: {_input_text(suspect)}",
        "outputs": ", ".join(f"{o.name} ({o.dtype})" for o in told.outputs),
        "answers": f"{trial.output}: {_form_text(suspect)}, {_classes_text(suspect)}"
        + (f"; also {', '.join(trial.other_outputs)}" if trial.other_outputs else ""),
        "repeatable": "yes" if trial.is_repeatable else "NO: other answers the second time",
        "parameters": f"{told.num_parameters:,}",
        "operators": operators,
        "runs on": suspect.identity.details["provider"],
        "sandbox": suspect.identity.details["sandbox"],
    }
    if by_trying := _found_by_trying(suspect):
        lines["by trying"] = "; ".join(by_trying)
    if classes:
        lines["class names"] = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
    width = max(map(len, lines))
    for title, text in lines.items():
        console.print(f"{title:{width}}  {text}")
    if not ranking or labels is None:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rank", "preprocessing", "right", "accuracy", "log p"):
        table.add_column(title, justify="left" if title == "preprocessing" else "right")
    for rank, row in list(zip(_ranks(ranking), ranking, strict=True))[:MAX_ROWS]:
        log_probability = row.mean_log_probability
        table.add_row(
            f"{rank} (tie)" if row.is_tied and sum(r.is_tied for r in ranking) > 1 else str(rank),
            row.name,
            f"{row.num_correct}/{row.num_images}",
            f"{row.accuracy:.1%}",
            "" if log_probability is None else f"{log_probability:z.3f}",
        )
    console.print()
    console.print(table)
    best = ranking[0]
    is_right = np.arange(best.num_images) < best.num_correct
    if near_chance(is_right, labels[: best.num_images]):
        console.print(
            "\nNone of them fits: the classes may be in another order, or the task is another one."
        )


def _found_by_trying(suspect: "OnnxSuspect") -> list[str]:
    """Say what the file leaves open in its declaration and is fixed inside."""
    from adapters.onnx.input import find_image_input

    declared = find_image_input(suspect.description.inputs, None)
    found, told = suspect.image_input, []
    if declared.recipe.size is None and found.recipe.size is not None:
        height, width = found.recipe.size
        told.append(f"declares any size, works at {height} by {width}")
    if declared.fixed_batch is None and found.fixed_batch is not None:
        told.append(f"declares any batch, works with {found.fixed_batch} images a run")
    elif declared.fixed_batch is None and not suspect.trial.is_batch_free:
        told.append("is asked one image at a time, others change its answer or do not fit")
    if declared.recipe.layout != found.recipe.layout:
        told.append(
            f"its rows are {found.recipe.layout}, which gets more control images right than "
            f"{declared.recipe.layout}"
        )
    return told


def _form_text(suspect: "OnnxSuspect") -> str:
    reading = suspect.trial.reading
    if reading.form in ("scores", "classes"):
        told: str = suspect.trial.kind
        left_out = sum(index < 0 for index in reading.columns or ())
        what = "scores" if reading.form == "scores" else "numbers"
        return f"{told}, {left_out} of its {what} left out" if left_out else told
    told = {
        "texts": "the class as a text",
        "map": f"a map from class to {suspect.trial.kind}",
        "columns": f"an output of {suspect.trial.kind} for each class",
        "one value": f"one value for two classes ({suspect.trial.kind})",
        "best k": f"the best classes, with {suspect.trial.kind}",
    }[reading.form]
    return told


def _classes_text(suspect: "OnnxSuspect") -> str:
    """Say how many classes there are, or of how many an open number of them is told."""
    told, trial = suspect.description, suspect.trial
    is_alone = sum(output.dtype.startswith("float") for output in told.outputs) == 1
    has_numbers = any(output.dtype in ("int64", "int32") for output in told.outputs)
    # Without a bundle nobody knows K, and k scores of the best look like K of all.
    if trial.reading.form == "scores" and is_alone and has_numbers and "TopK" in told.operators:
        return f"perhaps of the best {trial.num_classes} classes only; --bundle tells"
    return f"{trial.num_classes or '?'} classes"


def _input_text(suspect: "OnnxSuspect") -> str:
    recipe = suspect.recipe
    size = f"{recipe.size[0]} by {recipe.size[1]}" if recipe.size else "any size"
    channels = f"{recipe.channels} channels" if recipe.channels else "any channels"
    batch = suspect.image_input.fixed_batch
    free = "any batch" if "N" in recipe.layout else "one image a run"
    return f"{recipe.layout} {recipe.dtype}, {size}, {channels}, " + (
        free if batch is None else f"batch of {batch}"
    )
