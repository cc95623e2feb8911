"""The public checkpoint that the owner's network began from, with a head for the owner's classes.

Two networks that were fine-tuned from one checkpoint are not derived from each other. What they
share they share with every other one, so that innocents have to come from it, too.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from generator.errors import SourceError
from generator.sources.factories import ZOOS, find_architecture
from generator.sources.outputs import UsualForm
from generator.sources.weights import read_weights, without_prefix

NONE = "none"
"""Says that there is no ancestor."""

_MIN_SHARE = 0.5
"""Share of the network's layers that an ancestor must have."""
_MIN_ALIKE = 0.9
"""Correlation of a first layer with the ancestor's that only training from it leaves."""


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """Weights of everything but the head."""

    name: str
    state: Mapping[str, Tensor] = field(repr=False)
    """By the names of the owner's network."""
    head: tuple[str, ...]
    """Parameters that are the owner's own: drawn afresh for each descendant."""
    weights_sha256: str

    def begin(self, network: nn.Module) -> None:
        """Fill a network that was just drawn, in place, but for its head."""
        owners = inner(network)
        owners.load_state_dict({**owners.state_dict(), **self.state})


def inner(network: nn.Module) -> nn.Module:
    """Return the owner's own network inside of one in the usual form."""
    return network.network if isinstance(network, UsualForm) else network


def load_ancestor(spec: str, network: nn.Module) -> Ancestor:
    """Read the checkpoint that a network began from.

    Args:
        spec: A weights file as of ``--weights``, or a ``timm:``, ``torchvision:`` or ``hf:`` name.
        network: The owner's, in the usual form.

    Raises:
        SourceError: It cannot be read, or is none of this architecture.
    """
    saved = _weights_of(spec)
    expected = inner(network).state_dict()
    _, candidates = without_prefix(saved, expected)
    state = {
        name: candidates[name].float() if tensor.is_floating_point() else candidates[name]
        for name, tensor in expected.items()
        if name in candidates and candidates[name].shape == tensor.shape
    }
    head = tuple(name for name, _ in inner(network).named_parameters() if name not in state)
    if not head:
        head = _last_layer(inner(network))
        state = {name: tensor for name, tensor in state.items() if name not in head}
    # Matrices and filters, however large the head is.
    layers = [name for name, tensor in expected.items() if tensor.dim() > 1]
    share = sum(name in state for name in layers) / max(1, len(layers))
    if share < _MIN_SHARE:
        raise SourceError(
            f"ancestor: {spec} has {share:.0%} of the network's layers by name and shape, expected "
            f"at least {_MIN_SHARE:.0%}; give the checkpoint that this network was fine-tuned from"
        )
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].numpy().tobytes())
    return Ancestor(name=Path(spec).name, state=state, head=head, weights_sha256=digest.hexdigest())


def is_descendant(network: nn.Module, ancestor: Ancestor) -> bool:
    """Return whether the first filters of a network are those of an ancestor, but for tuning."""
    for name, parameter in inner(network).named_parameters():
        if parameter.dim() > 1 and name in ancestor.state:
            pair = torch.stack([parameter.detach().cpu().flatten(), ancestor.state[name].flatten()])
            # A fresh network's first layer correlates with nobody's.
            return bool(torch.corrcoef(pair)[0, 1] > _MIN_ALIKE)
    return True


def _weights_of(spec: str) -> Mapping[str, Tensor]:
    if spec.partition(":")[0] not in ZOOS:
        return read_weights(Path(spec))
    # As many classes as the library's own; its head is not taken.
    found = find_architecture(spec, 1000)
    if found.weights is not None:
        return read_weights(found.weights)
    assert found.pretrained is not None, "a library has weights, or the folder"
    return found.pretrained().state_dict()


def _last_layer(network: nn.Module) -> tuple[str, ...]:
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    if not layers:
        raise SourceError("ancestor: expected a network with a linear layer or a convolution")
    return tuple(
        name for name, _ in network.named_parameters() if name.rpartition(".")[0] == layers[-1]
    )
