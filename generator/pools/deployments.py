"""Deployments: the source behind a server that changes images, or asks other models, too.

The weights are the source's own; what differs is what they are shown, and what is made of their
answers. No gradient goes through a deployment: queries are crafted over views of the image
(`generator.crafting.contrast`) and only chosen by what deployments answer.
"""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from generator.pools.input_changes import (
    Change,
    as_it_is,
    blur,
    jpeg,
    median,
    mirrored,
    noisy,
    on_grid,
    resized,
    shifted,
)
from generator.pools.references import PoolModel, torch_pool_model

_TIE = 1e-3
"""Weight of the mean probability where votes are equal."""


class Deployed(nn.Module):
    """A model behind changes of its images, whose answers to each view are averaged.

    Args:
        model: Logits ``[N, K]`` from pixels in [0, 1].
        changes: One for each view.
    """

    def __init__(self, model: nn.Module, *changes: Change) -> None:
        super().__init__()
        self.model, self._changes = model, changes

    def forward(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities ``[N, K]``."""
        shown = [on_grid(change(pixels)) for change in self._changes]
        return _log_mean([self.model(view) for view in shown], [1.0] * len(shown))


class Together(nn.Module):
    """Several models that answer as one.

    Args:
        models: Logits ``[N, K]`` from pixels in [0, 1].
        weights: Of each model's answer.
        how: The mean of probabilities, or a vote of labels.
    """

    def __init__(
        self, models: Sequence[nn.Module], weights: Sequence[float], how: Literal["mean", "top-1"]
    ) -> None:
        super().__init__()
        self.models, self._weights, self._how = nn.ModuleList(models), weights, how

    def forward(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities ``[N, K]``."""
        logits = [model(pixels) for model in self.models]
        mean = _log_mean(logits, self._weights)
        if self._how == "mean":
            return mean
        votes = [functional.one_hot(each.argmax(1), each.shape[1]).float() for each in logits]
        total = sum(weight * vote for weight, vote in zip(self._weights, votes, strict=True))
        # Of equal votes the likelier class wins.
        return ((total + _TIE * mean.exp()) / (sum(self._weights) + _TIE)).log()


def make_deployments(
    source: nn.Module, innocents: Sequence[nn.Module], *, seed: int, is_mirrored: bool
) -> tuple[list[PoolModel], list[PoolModel]]:
    """Put the source behind servers: those that shape queries, and those that set bounds.

    No setting is in both, so that bounds are set by what the queries were not made to survive.

    Args:
        source: Logits from pixels in [0, 1].
        innocents: Partners of ensembles, which shaped queries; where there are none, no ensembles
            are made.
        seed: Source of the noise.
        is_mirrored: Whether the source keeps its accuracy on mirrored images; where it does not,
            nobody mirrors.
    """

    def seen(name: str, stratum: str, *changes: Change) -> PoolModel:
        return _deployed(Deployed(source, *changes), name, stratum)

    def asked(
        name: str, share: float, partners: Sequence[nn.Module], how: Literal["mean", "top-1"]
    ) -> PoolModel:
        weights = [share, *[(1 - share) / len(partners)] * len(partners)]
        return _deployed(Together([source, *partners], weights, how), name, "in an ensemble")

    selection = [
        seen("jpeg-65", "behind JPEG", jpeg(65)),
        seen("median-3x3", "behind a median filter", median(is_cross=False)),
        seen("resized-70", "behind resizing", resized(0.7)),
        seen("noise-6", "behind noise", noisy(6, seed)),
    ]
    calibration = [
        seen("jpeg-50", "behind JPEG", jpeg(50)),
        seen("jpeg-80", "behind JPEG", jpeg(80)),
        seen("blur-0.7", "behind blur", blur(0.7)),
        seen("median-cross", "behind a median filter", median(is_cross=True)),
        seen("resized-80", "behind resizing", resized(0.8)),
        seen("resized-150", "behind resizing", resized(1.5)),
        seen("noise-10", "behind noise", noisy(10, seed)),
        seen("averaged-shift", "averaged over views", as_it_is, shifted),
    ]
    if is_mirrored:
        selection.append(seen("mirrored", "mirrored", mirrored))
        calibration += [
            seen("mirrored-shifted", "mirrored", lambda pixels: shifted(mirrored(pixels))),
            seen("averaged-3", "averaged over views", as_it_is, mirrored, shifted),
        ]
    if innocents:
        # In turn, so that few partners serve several ensembles. The source has half of the say or
        # more: where it is outvoted, an ensemble answers as innocents do, and as a bound it would
        # have honest innocents accused.
        first, second, third = (innocents[number % len(innocents)] for number in range(3))
        selection.append(asked("mean-60", 0.6, [first], "mean"))
        calibration += [
            asked("mean-50", 0.5, [second], "mean"),
            asked("mean-55", 0.55, [second, third], "mean"),
        ]
    return selection, calibration


def _deployed(model: nn.Module, name: str, stratum: str) -> PoolModel:
    made = torch_pool_model(
        model.eval(),
        name=name,
        role="derived",
        stratum=stratum,
        provenance=f"the source's own weights, {stratum} ({name})",
    )
    # The tensors are the source's: the name tells what is around them.
    digest = hashlib.sha256(f"{made.weights_sha256}/{name}".encode()).hexdigest()
    return dataclasses.replace(made, weights_sha256=digest, network=None)


def _log_mean(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the log of the weighted mean of softmaxes, ``[N, K]``."""
    logs = [
        each.log_softmax(1) + math.log(weight / sum(weights))
        for each, weight in zip(logits, weights, strict=True)
    ]
    return torch.stack(logs).logsumexp(0)
