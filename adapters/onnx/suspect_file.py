"""The suspect file: a TOML file that says how to ask an ONNX model.

Written by ``kinprint probe``, corrected by hand where the auditor knows better (docs/suspects.md).
Fields that are left out come from the model or from the bundle's contract.
"""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.model import Device
from adapters.onnx.opening import open_onnx
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import OnnxSuspect, OutputKindChoice
from adapters.preprocessing import ColorOrder, Layout, Resampling
from adapters.printable import toml_string
from adapters.strict_model import FrozenModel
from adapters.suspect import SuspectConfigError

PerChannel = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]


class ModelTable(FrozenModel):
    """``[model]``: which file, and which of its outputs."""

    file: Annotated[str, Field(min_length=1)]
    """ONNX file, relative to the suspect file's folder."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What the file must be; unchecked if left out."""
    output: str | None = None
    """Output with the classes."""
    output_kind: OutputKindChoice = "auto"
    class_names: Annotated[tuple[str, ...], Field(strict=False)] | dict[str, int | str] | None = (
        None
    )
    """The file's labels in the order of the bundle's classes, or the class of each label, by index
    or by name; a number is a place among the file's scores. Where other classes have no label, they
    are left out."""
    absent_classes: Annotated[tuple[int | str, ...], Field(strict=False)] | None = None
    """The bundle's classes that the file does not have, by name or index; a list of
    ``class_names`` leaves them out."""
    allow_random: bool = False
    """Take a model that answers differently each time."""


class PreprocessingTable(FrozenModel):
    """``[preprocessing]``: what `adapters.onnx.input.RecipeOptions` holds."""

    size: Annotated[tuple[int, int], Field(strict=False)] | None = None
    resampling: Resampling | None = None
    crop: float | None = None
    channels: Literal[1, 3] | None = None
    color_order: ColorOrder | None = None
    scale: float | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None
    layout: Layout | None = None


class SuspectFile(FrozenModel):
    """The whole file."""

    format: Literal["kinprint-suspect"] = "kinprint-suspect"
    format_version: Literal[1] = 1
    model: ModelTable
    preprocessing: PreprocessingTable = PreprocessingTable()


def read_suspect_file(path: Path) -> SuspectFile:
    """Read a suspect file.

    Raises:
        SuspectConfigError: It cannot be read, is no TOML or has a wrong field; names the field.
    """
    try:
        return SuspectFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise SuspectConfigError(f"suspect file: cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SuspectConfigError(f"{path}: {field}: {first['msg']}") from error
    except ValueError as error:
        raise SuspectConfigError(f"{path}: expected TOML, got {error}") from error


def open_suspect_file(
    path: Path,
    *,
    contract: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    device: Device = "auto",
    labels_only: bool = False,
    controls: ControlImages | None = None,
    limits: OnnxLimits = OnnxLimits(),  # noqa: B008 (frozen)
    server: ForkServer | None = None,
) -> OnnxSuspect:
    """Open the model that a suspect file describes.

    Args:
        path: The suspect file.
        contract: The bundle's preprocessing, for what the file leaves out.
        image_shape: See `adapters.onnx.opening.open_onnx`, like the rest.
        num_classes: Likewise.
        device: Likewise.
        labels_only: Likewise.
        controls: Likewise.
        limits: Likewise.
        server: Likewise.

    Raises:
        SuspectConfigError: The suspect file is wrong, or the ONNX file is another one.
        SuspectError: See `adapters.onnx.opening.open_onnx`.
    """
    described = read_suspect_file(path)
    suspect = open_onnx(
        path.parent / described.model.file,
        recipe=merged_options(described.preprocessing, contract),
        image_shape=image_shape,
        num_classes=num_classes,
        device=device,
        output=described.model.output,
        output_kind=described.model.output_kind,
        labels_only=labels_only,
        allow_random=described.model.allow_random,
        controls=controls,
        class_names=described.model.class_names,
        absent_classes=described.model.absent_classes or (),
        limits=limits,
        server=server,
    )
    # After opening: this is the digest of the copy that answers, whatever lies there by now.
    expected, got = described.model.sha256, suspect.identity.digest
    if expected not in (None, got):
        suspect.close()
        raise SuspectConfigError(
            f"{path}: model.sha256: expected {expected}, got {got}: the ONNX file is another one; "
            "probe it anew"
        )
    return suspect


def merged_options(table: PreprocessingTable, contract: RecipeOptions) -> RecipeOptions:
    """Return the table's fields, with the contract's where the table has none.

    Scale, mean and std belong together: where the table has one of them, the contract's are out.
    """
    given: dict[str, Any] = {k: v for k, v in table.model_dump().items() if v is not None}
    # Mean and std count in units of pixel * scale, so that a mixture of two sources means nothing.
    if {"scale", "mean", "std"} & given.keys():
        contract = replace(contract, scale=None, mean=None, std=None)
    return replace(contract, **given)


def to_toml(described: SuspectFile, comments: tuple[str, ...] = ()) -> str:
    """Return the text of a suspect file.

    Args:
        described: What to write; fields without a value are left out.
        comments: Lines for the top of the file.
    """
    lines = [f"# {line}".rstrip() for line in comments]
    tables = described.model_dump(exclude_none=True)
    lines += [f"{key} = {_toml(tables[key])}" for key in ("format", "format_version")]
    for name in ("model", "preprocessing"):
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in tables[name].items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Write a value: JSON's numbers, booleans and arrays of them are TOML's too."""
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, dict):
        return (
            f"{{ {', '.join(f'{toml_string(key)} = {_toml(one)}' for key, one in value.items())} }}"
        )
    return json.dumps(list(value) if isinstance(value, tuple) else value)
