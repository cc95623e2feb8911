"""A run of ``kinprint export-onnx``: the owner's model in, a self-explaining ONNX file out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from adapters.onnx.control_images import ControlImages
from adapters.onnx.opening import open_onnx
from audit.atomic_file import write_atomically
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.jobs.owner_images import OwnerImages, read_training_images, reading_for
from generator.sources.check import check_on_images
from generator.sources.onnx_export import export_onnx
from generator.sources.preprocess import read_contract, usual_preprocess
from generator.sources.programs import open_source, require_weights
from generator.sources.source import Source
from generator.sources.torch_suspect import predict_logits

_MAX_EXAMPLES = 100
"""Images that model and file are compared on."""


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """What was written."""

    num_compared: int
    """Images that model and file were compared on."""
    accuracy: float
    """The file's share of them that is right."""


def export_model(
    *,
    model: str,
    weights: Path | None,
    normalise: str | None,
    preprocess: str | None,
    images: Sequence[Path],
    classes: str | None,
    out: Path,
    tell: Callable[[str], None],
) -> ExportedFile:
    """Write the owner's model as an ONNX file, after comparing both on real images.

    The file says in its metadata how it wants images and what its classes are called.

    Args:
        model: As ``kinprint craft`` takes it, like the next five.
        weights: Likewise.
        normalise: Likewise.
        preprocess: Likewise.
        images: Likewise.
        classes: Likewise.
        out: The file; an old one is replaced when the new one is whole.
        tell: Says what a user should know on the way.

    Raises:
        GenerationError: Something about the input does not fit, or the file answers otherwise than
            the model.
    """
    require_weights(model, weights is not None)
    contract = read_contract(normalise, preprocess or usual_preprocess(model, normalise))
    owner = OwnerImages(
        images=tuple(images),
        class_names=classes.split(",") if classes else None,
        max_images=_MAX_EXAMPLES,
    )
    examples = read_training_images(
        owner, reading_for(contract), np.random.default_rng(0), tell
    ).take(np.arange(_MAX_EXAMPLES))
    source = open_source(
        model, weights, contract, examples.images, num_classes=len(examples.class_names)
    )
    for note in check_on_images(source, examples).notes:
        tell(note)
    with TemporaryDirectory(prefix="kinprint-export-") as folder:
        draft = Path(folder) / "model.onnx"
        export_onnx(source.model.network, draft, image_shape=examples.images.shape[1:])
        _describe(draft, source, examples.class_names)
        accuracy = _compared(draft, source, examples)
        try:
            write_atomically(out, [draft.read_bytes()])
        except OSError as error:
            raise GenerationError(f"out: cannot write {out}: {error.strerror}") from error
    return ExportedFile(num_compared=len(examples), accuracy=accuracy)


def _describe(path: Path, source: Source, class_names: Sequence[str]) -> None:
    """Write into a file how it wants its images and what its classes are called."""
    file, contract = onnx.load(path), source.contract
    order = "Bgr8" if contract.color_order == "BGR" else "Rgb8"
    told = {
        "Image.BitmapPixelFormat": order,
        "mean": json.dumps(contract.mean),
        "std": json.dumps(contract.std),
        "names": json.dumps(list(class_names)),
    }
    onnx.helper.set_model_props(file, told)
    onnx.save(file, path)


def _compared(path: Path, source: Source, examples: ImageSet) -> float:
    """Return a file's accuracy, after its answers were compared with the model's.

    Raises:
        GenerationError: It gives one of the images another class.
    """
    expected = predict_logits(source.model, examples.images).argmax(axis=1)
    suspect = open_onnx(
        path,
        recipe=source.contract.for_channels(examples.images.shape[3]).recipe,
        image_shape=examples.images.shape[1:],
        num_classes=len(examples.class_names),
        device="cpu",
        controls=ControlImages(
            images=examples.images, labels=examples.labels, class_names=examples.class_names
        ),
    )
    try:
        given = np.concatenate(
            [
                suspect.predict(examples.images[start : start + suspect.batch_size]).labels
                for start in range(0, len(examples), suspect.batch_size)
            ]
        )
    finally:
        suspect.close()
    num_other = int((given != expected).sum())
    if num_other:
        raise GenerationError(
            f"export: expected the model's answers from the file, got another class for "
            f"{num_other} of {len(examples)} images; the exporter has changed the model, so export "
            "it with your own code and look at the difference"
        )
    return float((given == examples.labels).mean())
