"""Networks before their training: the source's architecture, or another for the same task."""

from typing import Literal

import torch

from generator.images.labelled import ImageSet
from generator.sources.architectures import PlainNet, ResNet8
from generator.sources.source import Normalised, Source, with_contract

Architecture = Literal["source", "residual", "plain"]


def untrained(
    source: Source, architecture: Architecture, images: ImageSet, seed: int
) -> Normalised:
    """Return a network with fresh weights, on the CPU.

    Args:
        source: Gives its architecture and its normalisation.
        architecture: ``source`` or one of `generator.sources.architectures`.
        images: Give the number of channels and of classes.
        seed: Of the weights; the same one gives the same weights.
    """
    if architecture == "source":
        return source.sibling(seed)
    shape = {"num_channels": images.images.shape[3], "num_classes": len(images.class_names)}
    # Initialisers draw from the global generator; fork it so that nobody else notices.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet8(**shape) if architecture == "residual" else PlainNet(**shape)
    return with_contract(network, source.contract)
