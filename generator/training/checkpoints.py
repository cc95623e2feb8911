"""Networks kept on disk while crafting goes on, so that an interrupted run does not train again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from audit.atomic_file import write_atomically
from generator.images.labelled import ImageSet


def run_digest(source: nn.Module, data: ImageSet, settings: Any) -> str:
    """Return the SHA-256, in hex, of everything that a trained network depends on.

    Args:
        source: The owner's model.
        data: What is trained on.
        settings: Everything else, as JSON takes it.
    """
    # Part of the file's name: what was trained for another run is not found, instead of wrong.
    digest = hashlib.sha256(json.dumps(settings).encode())
    for tensor in _tensors(source).values():
        digest.update(tensor.numpy().tobytes())
    digest.update(data.images.tobytes())
    digest.update(data.labels.tobytes())
    return digest.hexdigest()


def store(model: nn.Module, path: Path) -> None:
    """Write a network's weights, whole or not at all."""
    write_atomically(path, [safetensors.torch.save(_tensors(model))])


def restore(model: nn.Module, path: Path) -> bool:
    """Fill a network from a checkpoint; without one that fits, say so and leave it."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
