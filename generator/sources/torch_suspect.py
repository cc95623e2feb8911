"""A torch model seen through the audit's eyes: pools answer questions as any suspect does."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity
from generator.sources.source import weights_digest
from generator.training.loop import to_unit_interval

_MAX_BATCH_VALUES = 256 * 3 * 64 * 64
"""Pixel values computed at once: 256 images of 64x64, 20 of 224x224."""


class TorchSuspect:
    """A model in this process; satisfies `adapters.suspect.Suspect`.

    Args:
        name: How to call it.
        model: Takes pixels ``[N, C, H, W]`` in [0, 1], returns logits ``[N, K]``.
        batch_size: Largest number of images computed at once.
    """

    capability = Capability.PROBABILITIES
    concurrency = 1

    def __init__(self, name: str, model: nn.Module, *, batch_size: int = 256) -> None:
        self.batch_size = batch_size
        self._name, self._model = name, model

    @property
    def identity(self) -> SuspectIdentity:
        """Say which weights these are."""
        digest = weights_digest(self._model)
        return SuspectIdentity(kind="torch", name=self._name, digest=digest)

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify any number of images ``[N, H, W, C]``, `batch_size` at a time."""
        logits = predict_logits(self._model, images, self.batch_size)
        log_probabilities = functional.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        return Predictions(labels=logits.argmax(axis=1), log_probabilities=log_probabilities)

    def close(self) -> None:
        """Do nothing: the model belongs to the caller."""


def predict_logits(
    model: nn.Module, images: NDArray[np.uint8], batch_size: int = 256
) -> NDArray[np.float64]:
    """Return logits ``[N, K]`` of uint8 images ``[N, H, W, C]``, in evaluation mode.

    Large images go in smaller batches than ``batch_size``, so that memory stays bounded.
    """
    device = next(model.parameters()).device
    model.eval()
    batch_size = max(
        1, min(batch_size, _MAX_BATCH_VALUES // max(1, int(np.prod(images.shape[1:]))))
    )
    with torch.inference_mode():
        parts = [
            model(to_unit_interval(batch.to(device))).double().cpu()
            for batch in torch.split(torch.from_numpy(np.ascontiguousarray(images)), batch_size)
        ]
    return np.asarray(torch.cat(parts).numpy())


def answer_all(model: Suspect, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the log-probabilities ``[N, K]`` of any number of images."""
    parts = []
    for start in range(0, len(images), model.batch_size):
        answers = model.predict(images[start : start + model.batch_size])
        assert answers.log_probabilities is not None, "references give probabilities"
        parts.append(answers.log_probabilities)
    return np.concatenate(parts)
