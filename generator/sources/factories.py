"""Where an owner's architecture comes from: a function, or a name of a library.

A function may import its neighbours and the packages of the current folder, as it does where it
was written.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapters.extras import require
from generator.errors import SourceError

Build = Callable[[], nn.Module]
ZOOS = ("torchvision", "timm", "hf")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build a network."""

    name: str
    """As the owner named it, without folders."""
    build: Build
    """With weights of its own, drawn from the global generator."""
    pretrained: Build | None = None
    """With the weights that its library has for it; may download them."""
    weights: Path | None = None
    """Weights that lie beside it."""
    variants: Callable[[], Iterable[tuple[str, nn.Module]]] = lambda: ()
    """Networks of a similar name, on the meta device."""


def find_architecture(name: str, num_classes: int) -> Architecture:
    """Find what ``--model`` names.

    Args:
        name: ``package.module:factory``, ``folder/file.py:factory``, ``torchvision:NAME``,
            ``timm:NAME`` or ``hf:FOLDER``.
        num_classes: K, for networks of a library.

    Raises:
        SourceError: There is no such thing.
    """
    zoo, colon, rest = name.partition(":")
    if colon and zoo in ZOOS:
        return {"torchvision": _torchvision, "timm": _timm, "hf": _hugging_face}[zoo](
            rest, num_classes
        )
    location, colon, attribute = name.rpartition(":")
    if not colon or not location or not attribute:
        raise SourceError(
            "model: expected package.module:factory, file.py:factory, torchvision:NAME, timm:NAME, "
            f"hf:FOLDER or an .onnx, .pt2 or TorchScript file, got {name!r}"
        )
    module = _import(location)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise SourceError(f"model: {location} has no function {attribute!r}")
    short = Path(name).name
    return Architecture(
        name=short,
        build=partial(build, factory, short),
        variants=partial(_neighbours, module, attribute),
    )


def build(factory: Callable[[], Any], name: str) -> nn.Module:
    """Call a factory.

    Raises:
        SourceError: It raises, or returns no network; names what it tried to download.
    """
    with _watched() as asked:
        try:
            network = factory()
        except SourceError:
            raise
        except Exception as error:
            tried = f"; it tried to reach {asked[-1]}" if asked else ""
            advice = (
                ": give one that builds the network without weights (weights=None, "
                "pretrained=False), --weights fills it"
            )
            raise SourceError(
                f"model: {name} raised {type(error).__name__}: {error}"
                f"{tried + advice if asked else ''}"
            ) from error
    if not isinstance(network, nn.Module):
        raise SourceError(
            f"model: expected {name} to return a torch.nn.Module, got {type(network).__name__}"
        )
    # Half precision is for files; crafting computes gradients.
    return network.float()


_asked: list[str] | None = None


def _note_request(event: str, arguments: tuple[Any, ...]) -> None:
    """Note where Python code goes on the network; an audit hook, of which there is no way back."""
    if _asked is None:
        return
    if event == "urllib.Request" or (event == "socket.getaddrinfo" and not _asked):
        _asked.append(str(arguments[0]))


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Collect the addresses that are asked for inside."""
    global _asked
    if not getattr(_note_request, "is_there", False):
        sys.addaudithook(_note_request)
        _note_request.is_there = True  # type: ignore[attr-defined]
    asked: list[str] = []
    _asked = asked
    try:
        yield asked
    finally:
        _asked = None


def _import(location: str) -> Any:
    # As where the file was run or tried: its own folder, and the current one.
    is_file = location.endswith(".py")
    if is_file and not Path(location).is_file():
        raise SourceError(f"model: there is no file {location}")
    folder = str(Path(location).parent.resolve()) if is_file else str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _import_file(Path(location)) if is_file else importlib.import_module(location)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"model: cannot import {location} ({type(error).__name__}: {error})"
        ) from error


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"model: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _neighbours(module: Any, attribute: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the networks of functions that differ in a number (``resnet20``, ``resnet32``)."""
    stem = re.sub(r"\d+", "", attribute)
    for name in dir(module):
        if name != attribute and re.sub(r"\d+", "", name) == stem:
            try:
                with torch.device("meta"):
                    network = getattr(module, name)()
            except Exception:
                continue
            if isinstance(network, nn.Module):
                yield name, network


def _zoo_variants(
    names: Iterable[str], name: str, make: Callable[[str], Any]
) -> Iterator[tuple[str, nn.Module]]:
    stem = re.sub(r"\d+", "", name)
    for other in names:
        if other != name and re.sub(r"\d+", "", other) == stem:
            with torch.device("meta"):
                yield other, make(other)


def _torchvision(name: str, num_classes: int) -> Architecture:
    require("torchvision", by="model", error=SourceError)
    from torchvision.models import get_model, list_models

    if name not in list_models():
        raise SourceError(f"model: torchvision knows no model {name!r}")

    def make(which: str) -> Any:
        return get_model(which, weights=None, num_classes=num_classes)

    return Architecture(
        name=f"torchvision:{name}",
        build=partial(build, partial(make, name), f"torchvision:{name}"),
        pretrained=partial(
            build, partial(get_model, name, weights="DEFAULT"), f"torchvision:{name}"
        ),
        variants=partial(_zoo_variants, list_models(), name, make),
    )


def _timm(name: str, num_classes: int) -> Architecture:
    require("timm", by="model", error=SourceError)
    from timm import create_model, is_model, list_models

    if not is_model(name.partition(".")[0]):
        raise SourceError(f"model: timm knows no model {name!r}")

    def make(which: str) -> Any:
        return create_model(which, pretrained=False, num_classes=num_classes)

    return Architecture(
        name=f"timm:{name}",
        build=partial(build, partial(make, name), f"timm:{name}"),
        pretrained=partial(build, partial(create_model, name, pretrained=True), f"timm:{name}"),
        variants=partial(_zoo_variants, list_models(), name, make),
    )


def _hugging_face(name: str, num_classes: int) -> Architecture:
    """Build an image classifier of transformers from its folder; nothing is downloaded."""
    require("transformers", by="model", error=SourceError)
    from transformers import AutoConfig, AutoModelForImageClassification

    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise SourceError(f"model: expected config.json in {folder}")
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"model: cannot read {folder}/config.json ({error})") from error
    found = [folder / file for file in ("model.safetensors", "pytorch_model.bin")]
    return Architecture(
        name=f"hf:{folder.name}",
        build=partial(
            build,
            partial(AutoModelForImageClassification.from_config, config),
            f"hf:{folder.name}",
        ),
        weights=next((path for path in found if path.is_file()), None),
    )
