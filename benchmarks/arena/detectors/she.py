"""SHE: simplified Hopfield energy of a query's features.

Zhang et al., "Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization
with Modern Hopfield Energy", ICLR 2023. Of each class c the mean feature ``mu_c`` of the training
images that are classified right is kept; ``<h(x), mu_c>`` with c the predicted class is the energy
of a query, and a low one is anomalous. h is the input of the last linear layer.

Error-minimising triggers raise the norm of the features, so that they look more normal than normal
images: the two-sided score is the distance from the class's median energy, in units of its median
absolute deviation.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.sources.torch_suspect import predict_logits

_MIN_SPREAD = 1e-6
"""Floor of a class's spread relative to its energy: one image has none."""


class SHE:
    """Energy of the features; satisfies `Detector`.

    Args:
        two_sided: Suspect too high an energy as much as too low a one.
    """

    def __init__(self, *, two_sided: bool = False) -> None:
        self._two_sided = two_sided

    def fit(self, model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Keep the mean feature of each class; see `Detector.fit`.

        Raises:
            ValueError: The model has no linear layer, or classifies none of the images right.
        """
        self._model = model
        features, logits = self._answer(images)
        right = logits.argmax(axis=1) == labels
        if not right.any():
            raise ValueError(f"she: none of {len(images)} training images is classified right")
        features, classes = features[right], labels[right]
        # A class of which no image is classified right is compared with the mean of all.
        self._patterns = np.tile(features.mean(axis=0), (logits.shape[1], 1))  # [K, D]
        for label in np.unique(classes):
            self._patterns[label] = features[classes == label].mean(axis=0)
        energies = (features * self._patterns[classes]).sum(axis=1)
        self._medians = np.full(logits.shape[1], np.median(energies))
        self._spreads = np.full(logits.shape[1], _spread(energies))
        for label in np.unique(classes):
            own = energies[classes == label]
            self._medians[label], self._spreads[label] = np.median(own), _spread(own)

    def scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return how unusual the energies are; see `Detector.scores`."""
        features, logits = self._answer(images)
        classes = logits.argmax(axis=1)
        energies = (features * self._patterns[classes]).sum(axis=1)
        if not self._two_sided:
            return np.asarray(-energies)
        return np.asarray(np.abs(energies - self._medians[classes]) / self._spreads[classes])

    def _answer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return features ``[N, D]`` and logits ``[N, K]``."""
        layers = [module for module in self._model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise ValueError("she: expected a model with a linear layer, found none")
        seen: list[Tensor] = []

        def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0].flatten(1).double().cpu())

        hook = layers[-1].register_forward_pre_hook(keep)
        try:
            logits = predict_logits(self._model, images)
        finally:
            hook.remove()
        return torch.cat(seen).numpy(), logits


def _spread(energies: NDArray[np.float64]) -> float:
    median = float(np.median(energies))
    deviation = float(np.median(np.abs(energies - median)))
    return max(deviation, _MIN_SPREAD * abs(median), np.finfo(np.float64).tiny)
