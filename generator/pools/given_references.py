"""Innocent models that an owner gives: ONNX files, and torch models listed in a TOML file.

A folder may hold ``*.onnx`` at any depth and one ``references.toml``::

    [[reference]]
    name = "sibling-1"
    stratum = "same recipe"
    lineage = "run 7"                       # if others were made from the same network
    model = "networks.py:resnet20"          # a path is relative to the TOML file
    weights = "sibling-1.safetensors"
    normalise = "0.49,0.48,0.45/0.25,0.24,0.26"
"""

import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError

from adapters.onnx.opening import open_onnx
from adapters.preprocessing import ColorOrder
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectError
from audit.calibrating.lineages import declared_place, find_lineages, sentence
from audit.verdict.guessing import may_be_guessing
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.pools.references import PoolModel, torch_pool_model
from generator.sources.contract import InputContract
from generator.sources.preprocess import parse_normalise
from generator.sources.source import load_source
from generator.sources.torch_suspect import answer_all

LISTING = "references.toml"


class GivenReference(FrozenModel):
    """One torch model of the listing."""

    model_config = ConfigDict(strict=False)

    name: str
    stratum: str
    model: str
    weights: Path
    normalise: str
    lineage: str | None = None
    """Network that it and others were made from: they count as one innocent."""
    color_order: ColorOrder = "RGB"
    onnx: Path | None = None
    """The same model as an ONNX file, which is then not taken twice."""


class GivenReferences(FrozenModel):
    """The listing."""

    model_config = ConfigDict(strict=False)

    reference: tuple[GivenReference, ...]


def load_references(
    folder: Path,
    controls: ImageSet,
    *,
    contract: InputContract,
    device: torch.device,
    tell: Callable[[str], None],
) -> list[PoolModel]:
    """Open every model of a folder as an innocent reference.

    The stratum of an ONNX file is the folder below ``folder`` that it lies in, and one more folder
    below that is its lineage. A file that cannot be read,
    is at chance on the controls or is there twice is left out and named.

    Args:
        folder: Where the models are.
        controls: Labelled images of the task.
        contract: What ONNX files expect.
        device: Where torch models compute.
        tell: Says what was left out, and why.

    Raises:
        GenerationError: The listing is wrong, or there is no usable model.
    """
    if not folder.is_dir():
        raise GenerationError(f"references: there is no folder {folder}")
    references: list[PoolModel] = []
    seen: dict[str, str] = {}
    answers: list[NDArray[np.int64]] = []
    listed = _listing(folder)
    # A model that is there as torch and as ONNX is taken once, in the form that has gradients.
    twins = {folder / given.onnx for given in listed if given.onnx is not None}
    for candidate in (
        *_torch_models(folder, listed, controls, device),
        *_onnx_files(folder, twins, controls, contract=contract, tell=tell),
    ):
        # Asked before it is taken: a model at chance would make every trained one look derived.
        labels = answer_all(candidate.suspect, controls.images).argmax(axis=1)
        is_right = labels == controls.labels
        reason = ""
        if may_be_guessing(is_right, controls.labels):
            reason = f"{is_right.mean():.0%} of the controls right, which is near chance"
        elif candidate.weights_sha256 in seen:
            reason = f"the same weights as {seen[candidate.weights_sha256]}"
        if reason:
            tell(f"Left out {candidate.name}: {reason}.")
            candidate.suspect.close()
            continue
        seen[candidate.weights_sha256] = candidate.name
        references.append(candidate)
        answers.append(labels)
    if not references:
        raise GenerationError(
            f"references: no usable model in {folder}; expected *.onnx files or {LISTING}"
        )
    return _in_lineages(references, np.array(answers), controls, tell)


def _in_lineages(
    references: Sequence[PoolModel],
    answers: NDArray[np.int64],
    controls: ImageSet,
    tell: Callable[[str], None],
) -> list[PoolModel]:
    """Name the lineage of every reference that is one network with another."""
    names = [model.name for model in references]
    named = dict[int, str]()
    for found in find_lineages(
        answers,
        controls.labels,
        names=names,
        digests=[model.weights_sha256 for model in references],
        declared=[model.lineage for model in references],
    ):
        named |= dict.fromkeys(found.members, found.name)
        if found.is_found:
            tell(sentence(found, names))
    return [replace(model, lineage=named.get(number)) for number, model in enumerate(references)]


def _listing(folder: Path) -> tuple[GivenReference, ...]:
    path = folder / LISTING
    if not path.is_file():
        return ()
    try:
        return GivenReferences(**tomllib.loads(path.read_text(encoding="utf-8"))).reference
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GenerationError(f"references: cannot read {path} ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise GenerationError(f"references: {path}: {field}: {first['msg']}") from error


def _torch_models(
    folder: Path, listed: Sequence[GivenReference], controls: ImageSet, device: torch.device
) -> Iterator[PoolModel]:
    for given in listed:
        mean, std = parse_normalise(given.normalise)
        model = given.model
        if model.rpartition(":")[0].endswith(".py"):
            model = str(folder / model)
        contract = InputContract(mean=mean, std=std, color_order=given.color_order)
        source = load_source(
            model,
            folder / given.weights,
            contract,
            images=controls.images,
            num_classes=len(controls.class_names),
        )
        yield torch_pool_model(
            source.model.to(device),
            name=given.name,
            role="innocent",
            stratum=given.stratum,
            lineage=given.lineage,
            provenance=f"{source.architecture} with {given.weights.name}, given by the owner",
        )


def _onnx_files(
    folder: Path,
    twins: Collection[Path],
    controls: ImageSet,
    *,
    contract: InputContract,
    tell: Callable[[str], None],
) -> Iterator[PoolModel]:
    height, width, channels = controls.images.shape[1:]
    # Sorted: the order decides which of two equal files is kept, and who crafts.
    for path in sorted(set(folder.rglob("*.onnx")) - set(twins)):
        try:
            suspect = open_onnx(
                path,
                recipe=contract.recipe,
                image_shape=(height, width, channels),
                num_classes=len(controls.class_names),
            )
        except SuspectError as error:
            tell(f"Left out {path.name}: {error}")
            continue
        stratum, lineage = declared_place(path, folder)
        yield PoolModel(
            name=path.stem,
            role="innocent",
            stratum=stratum,
            lineage=lineage,
            provenance=f"ONNX file {path.name} given by the owner",
            weights_sha256=suspect.identity.digest,
            suspect=suspect,
        )
