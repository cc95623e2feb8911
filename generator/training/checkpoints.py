"""Networks kept on disk while crafting goes on, so that an interrupted run does not train again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from audit.atomic_file import write_atomically
from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.training.loop import to_unit_interval

_NUM_ANSWERED = 8


def run_digest(source: nn.Module, data: ImageSet, settings: Any) -> str:
    """Return the SHA-256, in hex, of everything that a trained network depends on.

    The code of a network and its preprocessing are told by its layers and by what it answers to
    some of the images: a changed function is another network.

    Args:
        source: The owner's model, or the untrained network.
        data: What is trained on.
        settings: Everything else, as JSON takes it.
    """
    # Part of the file's name: what was trained for another run is not found, instead of wrong.
    digest = hashlib.sha256(json.dumps(settings).encode())
    for tensor in _tensors(source).values():
        digest.update(tensor.numpy().tobytes())
    digest.update(repr(source).encode())
    digest.update(_answers(source, data).tobytes())
    digest.update(data.images.tobytes())
    digest.update(data.labels.tobytes())
    return digest.hexdigest()


def kept_or_made(
    places: Sequence[nn.Module],
    paths: Sequence[Path],
    make: Callable[[], list[nn.Module]],
) -> list[nn.Module]:
    """Take networks from disk if all are there, else make them and put them there.

    Args:
        places: Networks of the right shape, which are filled and returned.
        paths: Where each is kept; none keeps nothing.
        make: Makes them all.

    Raises:
        GenerationError: One cannot be written.
    """
    if paths and all(restore(one, path) for one, path in zip(places, paths, strict=True)):
        return list(places)
    made = make()
    for one, path in zip(made, paths, strict=False):
        store(one, path)
    return made


def store(model: nn.Module, path: Path) -> None:
    """Write a network's weights, whole or not at all.

    Raises:
        GenerationError: It cannot be written; what is finished is kept.
    """
    try:
        write_atomically(path, [safetensors.torch.save(_tensors(model))])
    except OSError as error:
        raise GenerationError(
            f"work: cannot write {path}: {error.strerror}; finished models are kept, so make room "
            "and start again, or name another folder with --work"
        ) from error


def restore(model: nn.Module, path: Path) -> bool:
    """Fill a network from a checkpoint; without one that fits, say so and leave it."""
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}


def _answers(model: nn.Module, data: ImageSet) -> NDArray[np.float32]:
    device = next(model.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(data.images[:_NUM_ANSWERED])).to(device)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        answers: NDArray[np.float32] = model(to_unit_interval(images)).float().cpu().numpy()
    model.train(was_training)
    return answers
