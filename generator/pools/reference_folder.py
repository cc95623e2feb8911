"""Innocent models on disk: made one after another, each one whole, so that a run can go on.

Every model is an ONNX file in the folder of its kind, as ``kinprint calibrate`` and ``challenge``
take them. Those of the source's own architecture are also kept as weights and listed, because
crafting needs the gradients of some (`generator.pools.given_references`).
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.pools.given_references import LISTING
from generator.pools.reference_kinds import (
    MadeReference,
    ReferenceRecipe,
    kind_of,
    make_reference,
)
from generator.sources.onnx_export import export_onnx
from generator.sources.source import Source
from generator.training.ranks import current_ranks

_SETTINGS = "references.json"


def make_reference_folder(
    folder: Path,
    source: Source,
    data: ImageSet,
    recipe: ReferenceRecipe,
    *,
    factory: str | None,
    num_references: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Make what is missing in a folder of references.

    Args:
        folder: Made if it does not exist.
        source: Gives architecture and normalisation.
        data: The owner's images.
        recipe: How they are trained.
        factory: ``file.py:factory`` or ``module:factory`` of the source; None for an ONNX file.
        num_references: How many there shall be.
        on_step: Called with (steps done, steps in all) in thousandths of a model.

    Returns:
        How many were there already.

    Raises:
        GenerationError: The folder holds references made in another way.
    """
    ranks = current_ranks()
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.is_first:
        _check_settings(folder / _SETTINGS, source, data, recipe)
    ranks.wait()
    # The first process may have written them a moment ago; the others compare with that.
    if not ranks.is_first:
        _check_settings(folder / _SETTINGS, source, data, recipe)
    num_found = sum(_path(folder, source, number).exists() for number in range(num_references))
    ranks.wait()  # everybody has counted before anybody makes one
    for number in ranks.mine(range(num_references)):
        path = _path(folder, source, number)
        if not path.exists():

            def report(step: int, total: int, number: int = number) -> None:
                on_step(number * 1000 + 1000 * step // total, num_references * 1000)

            made = make_reference(source, data, number, recipe, on_step=report)
            _write(made, path, image_shape=data.images.shape[1:], with_weights=factory is not None)
        if factory is not None and ranks.is_first:
            _write_listing(folder, num_references, factory, source)
        on_step((number + 1) * 1000, num_references * 1000)
    ranks.wait()
    if factory is not None and ranks.is_first:
        _write_listing(folder, num_references, factory, source)
    return num_found


def _path(folder: Path, source: Source, number: int) -> Path:
    kind = kind_of(source, number)
    return folder / kind.stratum.replace(" ", "-") / f"reference-{number:03d}.onnx"


def _check_settings(path: Path, source: Source, data: ImageSet, recipe: ReferenceRecipe) -> None:
    settings = {
        "architecture": source.architecture,
        "images_sha256": hashlib.sha256(np.ascontiguousarray(data.images).tobytes()).hexdigest(),
        "epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "seed": recipe.seed,
    }
    if source.ancestor is not None:
        settings["ancestor_sha256"] = source.ancestor.weights_sha256
    if not path.exists():
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GenerationError(f"out: cannot read {path}; remove it or choose a folder") from error
    # A folder may grow, and be made by another number of processes; it never mixes two recipes.
    different = sorted(name for name in settings if found.get(name) != settings[name])
    if different:
        raise GenerationError(
            f"out: {path.parent} holds references made with another {' and '.join(different)}; "
            "choose another folder"
        )


def _write(
    made: MadeReference, path: Path, *, image_shape: tuple[int, ...], with_weights: bool
) -> None:
    path.parent.mkdir(exist_ok=True)
    height, width, channels = image_shape
    network = made.model.cpu().network
    if with_weights and made.kind.architecture == "source":
        partial = path.with_suffix(".safetensors.part")
        save_file(
            {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial
        )
        os.replace(partial, path.with_suffix(".safetensors"))
    # The ONNX file comes last, and whole: that it is there says that the reference is finished.
    partial = path.with_suffix(".onnx.part")
    export_onnx(network, partial, image_shape=(height, width, channels))
    os.replace(partial, path)


def _write_listing(folder: Path, num_references: int, factory: str, source: Source) -> None:
    location, _, attribute = factory.rpartition(":")
    if location.endswith(".py"):
        factory = f"{Path(location).absolute()}:{attribute}"
    normalise = "/".join(
        ",".join(map(repr, values)) for values in (source.contract.mean, source.contract.std)
    )
    entries = []
    for number in range(num_references):
        path, kind = _path(folder, source, number), kind_of(source, number)
        # Only what the owner's own function can build: others have no name for their architecture.
        if path.exists() and kind.architecture == "source":
            relative = path.relative_to(folder)
            entries.append(
                "[[reference]]\n"
                f"name = {json.dumps(path.stem)}\n"
                f"stratum = {json.dumps(path.parent.name)}\n"
                f"model = {json.dumps(factory)}\n"
                f"weights = {json.dumps(relative.with_suffix('.safetensors').as_posix())}\n"
                f"onnx = {json.dumps(relative.as_posix())}\n"
                f"normalise = {json.dumps(normalise)}\n"
                f"color_order = {json.dumps(source.contract.color_order)}\n"
            )
    partial = folder / f"{LISTING}.part"
    partial.write_text("\n".join(entries), encoding="utf-8")
    os.replace(partial, folder / LISTING)
