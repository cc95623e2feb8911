"""From whatever a network takes and returns to logits of NCHW pixels.

Found by trying on real images: channels first or last; a tensor, a tuple, a dict or an object with
``logits``; softmax at the end, which is taken off; one logit for two classes.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from generator.errors import SourceError

_NAMES = ("logits", "out", "output", "outputs", "preds", "predictions", "y")
_TOLERANCE = 1e-3
"""How near a row of probabilities sums to 1."""
_SMALLEST = 1e-12
"""Below it, a probability's logarithm is not taken."""


@dataclass(frozen=True, kw_only=True)
class NetworkForm:
    """What turns a network's input and output into the usual ones."""

    is_channels_last: bool = False
    part: str | int | None = None
    """Key, attribute or place of the logits in what the network returns; None: it is a tensor."""
    is_map: bool = False
    """Whether it has further sizes of 1, as of a convolution over the whole image."""
    is_probability: bool = False
    """Whether a logarithm is taken; for one logit, the inverse of the sigmoid."""
    is_single: bool = False
    """Whether there is one value for two classes, high for the second."""
    identity: str | None = None
    """Name of a final softmax or sigmoid that is passed over instead."""

    @property
    def words(self) -> tuple[str, ...]:
        """Return what was found, in sentences."""
        told = []
        if self.is_channels_last:
            told.append("The network takes its channels last.")
        if self.part is not None:
            told.append(f"Its logits are {self.part!r} of what it returns.")
        if self.identity is not None:
            told.append(f"{self.identity} at its end is passed over.")
        if self.is_probability:
            told.append("It returns probabilities; their logarithms are taken as logits.")
        if self.is_single:
            told.append("It returns one value for two classes.")
        return tuple(told)


class UsualForm(nn.Module):
    """A network that takes NCHW pixels and returns logits ``[N, K]``.

    Args:
        network: The owner's.
        form: What is unusual about it.
    """

    def __init__(self, network: nn.Module, form: NetworkForm) -> None:
        super().__init__()
        if form.identity is not None:
            parent, _, name = form.identity.rpartition(".")
            setattr(network.get_submodule(parent), name, nn.Identity())
        self.network = network
        self.form = form

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of normalised images ``[N, C, H, W]``."""
        if self.form.is_channels_last:
            images = images.permute(0, 2, 3, 1)
        values = _part(self.network(images), self.form.part).float()
        values = values.flatten(1) if values.dim() > 1 else values[:, None]
        if not self.form.is_single:
            return values.clamp(min=_SMALLEST).log() if self.form.is_probability else values
        if self.form.is_probability:
            kept = values.clamp(_SMALLEST, 1 - 1e-7)
            values = kept.log() - (1 - kept).log()
        return torch.cat([torch.zeros_like(values), values], dim=1)  # sigmoid(z) = softmax(0, z)


def in_usual_form(network: nn.Module, form: NetworkForm) -> nn.Module:
    """Return a network that gives logits; the same one if it does."""
    return network if form == NetworkForm() else UsualForm(network, form)


def find_form(network: nn.Module, inputs: Tensor, *, num_classes: int, name: str) -> NetworkForm:
    """Find out what a network takes and returns.

    Args:
        network: In evaluation mode.
        inputs: Normalised images ``[N, C, H, W]``, at least two that differ.
        num_classes: K.
        name: Of the network, for messages.

    Raises:
        SourceError: It takes no such images, or returns nothing with a value for each class.
    """
    is_channels_last, returned = _returned(network, inputs, name)
    found = [
        (part, values)
        for part, value in _parts(returned)
        if (values := _rows(value, len(inputs))) is not None
        and values.shape[1] in ({num_classes, 1} if num_classes == 2 else {num_classes})
    ]
    if not found:
        raise SourceError(
            f"model: expected logits [N, {num_classes}] for the {num_classes} classes of the "
            f"images, got {_description(returned)} from {name}; the images name other classes than "
            "the network has, or another network"
        )
    part, values = found[0]
    form = NetworkForm(
        is_channels_last=is_channels_last,
        part=part,
        is_map=_part(returned, part).dim() > 2,
        is_single=values.shape[1] != num_classes,
    )
    if not _is_probability(values):
        return form
    return _without_softmax(network, inputs, form, values)


def _returned(network: nn.Module, inputs: Tensor, name: str) -> tuple[bool, Any]:
    failures = []
    for is_last in (False, True):
        try:
            with torch.inference_mode():
                return is_last, network(inputs.permute(0, 2, 3, 1) if is_last else inputs)
        except Exception as error:  # whatever somebody's network raises about a shape
            failures.append(error)
    _, channels, height, width = inputs.shape
    first = (str(failures[0]).splitlines() or [type(failures[0]).__name__])[0]
    raise SourceError(
        f"model: {name} cannot take images of {height}x{width}x{channels} (height x width x "
        f"channels): {first}"
    ) from failures[0]


def _parts(returned: Any) -> Iterator[tuple[str | int | None, Any]]:
    """Yield the tensors in what a network returned, likeliest first, each with its place."""
    if isinstance(returned, Tensor):
        yield None, returned
        return
    for name in _NAMES:
        if isinstance(returned, Mapping):
            if name in returned:
                yield name, returned[name]
        elif hasattr(returned, name):
            yield name, getattr(returned, name)
    if isinstance(returned, Mapping):
        yield from returned.items()
    elif isinstance(returned, tuple | list):
        yield from enumerate(returned)


def _part(returned: Any, part: str | int | None) -> Tensor:
    if part is None:
        found = returned
    elif isinstance(returned, Mapping | tuple | list) and (
        isinstance(part, int) or isinstance(returned, Mapping)
    ):
        found = returned[part]  # type: ignore[index]  # a number for a place, a word for a key
    else:
        found = getattr(returned, str(part))
    assert isinstance(found, Tensor)
    return found


def _rows(value: Any, num: int) -> Tensor | None:
    """Return a value as one row per image, None if it is no such thing."""
    if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != num:
        return None
    if value.dim() > 2 and any(size != 1 for size in value.shape[2:]):
        return None
    return value.float().flatten(1) if value.dim() > 1 else value.float()[:, None]


def _is_probability(values: Tensor) -> bool:
    if not (values.isfinite().all() and values.min() >= 0 and values.max() <= 1 + _TOLERANCE):
        return False
    if values.shape[1] == 1:
        return True
    return bool(((values.sum(dim=1) - 1).abs() < _TOLERANCE).all())


def _without_softmax(
    network: nn.Module, inputs: Tensor, form: NetworkForm, values: Tensor
) -> NetworkForm:
    """Pass over the module that makes probabilities, if there is one; else take logarithms."""
    for name, module in network.named_modules():
        if not isinstance(module, nn.Softmax | nn.Sigmoid):
            continue
        tried = NetworkForm(**{**vars(form), "identity": name})
        with torch.inference_mode():
            logits = UsualForm(copy.deepcopy(network), tried)(inputs)
        again = logits.softmax(dim=1)
        expected = torch.cat([1 - values, values], dim=1) if form.is_single else values
        if torch.allclose(again, expected, atol=1e-4) and not torch.allclose(logits, expected):
            return tried
    return NetworkForm(**{**vars(form), "is_probability": True})


def _description(returned: Any) -> str:
    if isinstance(returned, Tensor):
        return str(list(returned.shape))
    found = [f"{part}: {list(v.shape)}" for part, v in _parts(returned) if isinstance(v, Tensor)]
    return f"{type(returned).__name__} with {', '.join(found) or 'no tensor'}"
