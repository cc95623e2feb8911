"""The owner's model: built by a factory, filled from a weights file, run on pixels.

The factory returns the architecture with its own random initial weights, so that the same factory
also makes siblings (same architecture, another seed).
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from adapters.preprocessing import ColorOrder
from generator.errors import SourceError
from generator.sources.contract import InputContract


class Normalised(nn.Module):
    """A network that takes pixels in [0, 1] and normalises them itself.

    Args:
        network: Takes ``(pixels - mean) / std``, returns logits ``[N, K]``.
        mean: Per channel in RGB order, in [0, 1] pixel units.
        std: Per channel in RGB order, in [0, 1] pixel units.
        color_order: In which the network takes its channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        color_order: ColorOrder = "RGB",
    ) -> None:
        super().__init__()
        self.network = network
        self.color_order = color_order
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of pixels ``[N, C, H, W]`` in [0, 1]."""
        normalised = (pixels - self.mean) / self.std
        if self.color_order == "BGR":
            normalised = normalised.flip(1)
        logits: Tensor = self.network(normalised)
        return logits


@dataclass(frozen=True, kw_only=True)
class Source:
    """The owner's trained model."""

    model: Normalised
    factory: Callable[[], nn.Module]
    """Builds the same architecture untrained."""
    architecture: str
    """The factory as the owner named it, without folders."""
    weights_sha256: str
    contract: InputContract

    @property
    def num_parameters(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def sibling(self, seed: int) -> Normalised:
        """Return the same architecture with fresh weights drawn from ``seed``."""
        # Initialisers draw from the global generator; fork it so that nobody else notices.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _build(self.factory, self.architecture)
        return with_contract(network, self.contract)


def with_contract(network: nn.Module, contract: InputContract) -> Normalised:
    """Return a network that takes images of its input size, ready to answer."""
    return ready(Normalised(network, contract.mean, contract.std, contract.color_order))


def load_source(factory_name: str, weights: Path, contract: InputContract) -> Source:
    """Build the owner's model and fill it.

    Args:
        factory_name: ``package.module:factory`` or ``folder/file.py:factory``.
        weights: ``.safetensors``, or a ``.pt``/``.pth`` state dict (read with ``weights_only``).
        contract: How images become the network's input.

    Raises:
        SourceError: The factory cannot be found or raises, or the weights do not fit it.
    """
    factory = _find_factory(factory_name)
    architecture = Path(factory_name).name
    network = _build(factory, architecture)
    state = _read_weights(weights)
    expected = network.state_dict()
    missing = sorted(set(expected) - set(state))
    surplus = sorted(set(state) - set(expected))
    if missing or surplus:
        told = [f"missing {_some(missing)}"] if missing else []
        told += [f"unknown {_some(surplus)}"] if surplus else []
        raise SourceError(f"weights: {weights} does not fit {factory_name}: {'; '.join(told)}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise SourceError(
                f"weights: {name} in {weights}: expected shape {list(tensor.shape)} for "
                f"{factory_name}, got {list(state[name].shape)}"
            )
    network.load_state_dict(state)
    return Source(
        model=with_contract(network, contract),
        factory=factory,
        architecture=architecture,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        contract=contract,
    )


def reinitialised(network: nn.Module) -> nn.Module:
    """Draw fresh weights, in place, in every layer that knows how; from the global generator."""
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return network


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's tensors by sorted name, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def ready(model: Normalised) -> Normalised:
    """Lay a model out for speed (channels last) and put it into evaluation mode."""
    # nn.Module.to knows memory_format at run time; its type hints do not.
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _find_factory(name: str) -> Callable[[], nn.Module]:
    location, colon, attribute = name.rpartition(":")
    if not colon or not location or not attribute:
        raise SourceError(
            f"model: expected package.module:factory or file.py:factory, got {name!r}"
        )
    try:
        if location.endswith(".py"):
            module = _import_file(Path(location))
        else:
            module = importlib.import_module(location)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"model: cannot import {location} ({error})") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise SourceError(f"model: {location} has no function {attribute!r}")
    return factory  # type: ignore[no-any-return]  # what it returns is checked by _build


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise SourceError(f"model: there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"model: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _build(factory: Callable[[], nn.Module], name: str) -> nn.Module:
    try:
        network = factory()
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"model: {name} raised {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise SourceError(
            f"model: expected {name} to return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SourceError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path))
        except (SafetensorError, OSError) as error:
            raise SourceError(f"weights: cannot read {path} ({error})") from error
    if path.suffix not in (".pt", ".pth"):
        raise SourceError(f"weights: expected .safetensors, .pt or .pth, got {path.name}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SourceError(
            f"weights: cannot read {path} as tensors only ({str(error).splitlines()[0]}); save "
            "model.state_dict()"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SourceError(f"weights: expected a state dict of tensors in {path}")
    # Parallel wrappers put "module." before every name.
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
