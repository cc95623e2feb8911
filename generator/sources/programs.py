"""Whole models as files: ONNX, TorchScript and exported programs (``.pt2``).

The latter two hold no layers that a thief's changes could be made to, so they go by way of ONNX
(`generator.sources.onnx_source`), which is compared with what the file itself answers.
"""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.extras import require
from generator.errors import SourceError
from generator.sources.contract import InputContract
from generator.sources.factories import ZOOS
from generator.sources.onnx_export import quiet
from generator.sources.onnx_source import load_onnx_source
from generator.sources.source import Source, load_source

_PROGRAMS = (".pt2",)
_SCRIPTS = (".pt", ".pth", ".ts", ".torchscript", ".jit")


def is_program(model: str) -> bool:
    """Return whether ``--model`` names a whole model, which holds its weights, and no factory."""
    return model.endswith((".onnx", *_PROGRAMS, *_SCRIPTS))


def require_weights(model: str, are_given: bool) -> None:
    """Refuse weights beside a whole model, and a network without any.

    Args:
        model: What ``--model`` says.
        are_given: Whether ``--weights`` is given.

    Raises:
        SourceError: The two do not go together.
    """
    if is_program(model) and are_given:
        raise SourceError(
            f"weights: expected none with {Path(model).name} as --model, a whole model that holds "
            "its weights"
        )
    if not is_program(model) and not are_given and model.partition(":")[0] not in ZOOS:
        raise SourceError("weights: expected --weights, or weights in the TOML file")


def open_source(
    model: str,
    weights: Path | None,
    contract: InputContract,
    images: NDArray[np.uint8],
    *,
    num_classes: int,
) -> Source:
    """Read the owner's model, whatever it is.

    Args:
        model: A whole model's file, or what `generator.sources.source.load_source` takes.
        weights: Of a network; None for a whole model.
        contract: How images become the network's input.
        images: Natural images, uint8 ``[N, H, W, C]``.
        num_classes: K.

    Raises:
        SourceError: It cannot be read, or does not classify the images.
    """
    contract = contract.for_channels(images.shape[3])
    if not is_program(model):
        return load_source(model, weights, contract, images=images, num_classes=num_classes)
    path = Path(model)
    if not path.is_file():
        raise SourceError(f"model: there is no file {path}")
    if path.suffix == ".onnx":
        return load_onnx_source(path, images, num_classes=num_classes, contract=contract)
    require("onnxscript", by=f"model: {path.name}", error=SourceError)
    read = _read_exported if path.suffix in _PROGRAMS else _read_script
    with TemporaryDirectory() as folder, quiet():
        export = read(path, images.shape[1:])
        as_onnx = Path(folder) / f"{path.stem}.onnx"
        try:
            export(as_onnx)
        except Exception as error:
            raise SourceError(
                f"model: {path.name} cannot be converted ({_first_line(error)}); give the "
                "network's code as --model FILE.py:factory, with --weights"
            ) from error
        source = load_onnx_source(as_onnx, images, num_classes=num_classes, contract=contract)
    return replace(source, architecture=path.name, weights_sha256=_sha256(path))


def _read_script(path: Path, shape: tuple[int, ...]) -> Callable[[Path], None]:
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if not any(name.endswith("/constants.pkl") for name in names):
        raise SourceError(
            f"model: {path.name} is no TorchScript file; if it holds weights, give them as "
            f"--weights {path.name} and the network as --model FILE.py:factory"
        )
    try:
        loaded = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        script = loaded.eval().float()
    except RuntimeError as error:
        raise SourceError(f"model: cannot read {path.name} ({_first_line(error)})") from error
    height, width, channels = shape

    def export(target: Path) -> None:
        torch.onnx.export(
            script,
            (torch.zeros(2, channels, height, width),),
            str(target),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}},
        )

    return export


def _read_exported(path: Path, shape: tuple[int, ...]) -> Callable[[Path], None]:
    try:
        program = torch.export.load(path)
    except Exception as error:  # a ZIP file of another kind, another version, ...
        raise SourceError(f"model: cannot read {path.name} ({_first_line(error)})") from error

    def export(target: Path) -> None:
        torch.onnx.export(program, (), str(target), dynamo=True, external_data=False)

    return export


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
