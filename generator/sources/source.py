"""The owner's model: built by a factory, filled from a weights file, run on pixels.

The factory returns the architecture with its own random initial weights, so that the same factory
also makes siblings (same architecture, another seed).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.preprocessing import ColorOrder
from generator.errors import SourceError
from generator.sources.ancestor import Ancestor
from generator.sources.contract import InputContract
from generator.sources.factories import Architecture, build, find_architecture
from generator.sources.outputs import NetworkForm, find_form, in_usual_form
from generator.sources.weights import fill, read_weights


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
    ancestor: Ancestor | None = None
    """What the model was fine-tuned from, where the owner says so."""
    notes: tuple[str, ...] = ()
    """What the owner should know about how it was read, in sentences."""

    @property
    def num_parameters(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def sibling(self, seed: int) -> Normalised:
        """Return the same architecture with fresh weights drawn from ``seed``."""
        # Initialisers draw from the global generator; fork it so that nobody else notices.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(self.factory, self.architecture)
        return with_contract(network, self.contract)

    def descendant(self, seed: int) -> Normalised:
        """Return the ancestor with a head drawn from ``seed``."""
        assert self.ancestor is not None, "asked for only where there is one"
        model = self.sibling(seed)
        self.ancestor.begin(model.network)
        return model


def with_contract(network: nn.Module, contract: InputContract) -> Normalised:
    """Return a network that takes images of its input size, ready to answer."""
    return ready(Normalised(network, contract.mean, contract.std, contract.color_order))


def load_source(
    name: str,
    weights: Path | None,
    contract: InputContract,
    *,
    images: NDArray[np.uint8] | None = None,
    num_classes: int = 0,
) -> Source:
    """Build the owner's model and fill it.

    Args:
        name: As `generator.sources.factories.find_architecture` takes it.
        weights: As `generator.sources.weights.read_weights` takes it; None where the architecture
            brings its own.
        contract: How images become the network's input.
        images: Some that differ, uint8 ``[N, H, W, C]``, to find out what the network takes and
            returns; without, it takes NCHW pixels and returns logits.
        num_classes: K of the images.

    Raises:
        SourceError: The factory cannot be found or raises, the weights do not fit it, or it does
            not classify the images.
    """
    found = find_architecture(name, num_classes)
    path = weights or found.weights
    if path is not None:
        network = found.build()
        state = read_weights(path)
        notes = fill(network, state, path=path, name=name, variants=found.variants)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    elif found.pretrained is not None:
        network, notes = found.pretrained(), ()
        digest = weights_digest(network)
    else:
        raise SourceError(f"weights: expected --weights for {name}")
    return _source(found, network, digest, notes, contract, images, num_classes)


def load_architecture(
    name: str,
    contract: InputContract,
    *,
    images: NDArray[np.uint8],
    num_classes: int,
) -> Source:
    """Build the owner's network untrained: enough for innocents of its architecture.

    Arguments and errors as of `load_source`, without weights.
    """
    found = find_architecture(name, num_classes)
    network = found.build()
    return _source(found, network, weights_digest(network), (), contract, images, num_classes)


def _source(
    found: Architecture,
    network: nn.Module,
    digest: str,
    notes: tuple[str, ...],
    contract: InputContract,
    images: NDArray[np.uint8] | None,
    num_classes: int,
) -> Source:
    form, is_fixed = NetworkForm(), _is_fixed(found.build)
    if images is not None:
        inputs = with_contract(nn.Identity(), contract)(_pixels(images))
        form = find_form(network.eval(), inputs, num_classes=num_classes, name=found.name)
    if is_fixed:
        notes += (
            f"{found.name} returns the same weights each time (pretrained, or drawn from a seed of "
            "its own); innocents of its architecture are drawn afresh, layer by layer.",
        )
    return Source(
        model=with_contract(in_usual_form(network, form), contract),
        factory=partial(_untrained, found.build, form, is_fixed),
        architecture=found.name,
        weights_sha256=digest,
        contract=contract,
        notes=(*notes, *form.words),
    )


def _untrained(factory: Callable[[], nn.Module], form: NetworkForm, is_fixed: bool) -> nn.Module:
    network = in_usual_form(factory(), form)
    return reinitialised(network) if is_fixed else network


def _is_fixed(factory: Callable[[], nn.Module]) -> bool:
    """Return whether a factory's weights do not follow the seed: they would make no innocents."""
    drawn = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn.append(list(factory().parameters()))
    # Biases and scales begin alike anyway; matrices and filters do not.
    pairs = [pair for pair in zip(*drawn, strict=True) if pair[0].dim() > 1]
    return bool(pairs) and all(torch.equal(first, second) for first, second in pairs)


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


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
