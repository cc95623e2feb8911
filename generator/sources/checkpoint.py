"""An owner's weights out of the checkpoint files that training programs write.

A checkpoint is a state dict, or a dict that holds one beside optimisers and counters under a name
of the program's own; wrappers put a prefix before every name. Which dict and which prefix are meant
is what fits the network. Read as tensors only (``weights_only``), never as a program.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from generator.errors import SourceError

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".th")
"""Of files that torch writes; ``.tar`` is ``.pth.tar``."""
KEYS = ("state_dict", "model", "net", "model_state_dict", "network", "weights", "module")
"""Names of a state dict within a checkpoint, likely ones first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""What parallel wrappers, torch.compile, Lightning and others put before every name."""
COUNTER = ".num_batches_tracked"
"""Of a batch norm: has no influence on answers, and files from before PyTorch 0.4.1, or of other
programs, do without."""
MAX_DEPTH = 2

State = dict[str, Tensor]


def read_weights(path: Path, expected: Mapping[str, Tensor]) -> State:
    """Read the weights of a network.

    Args:
        path: ``.safetensors``, or a file of torch.
        expected: The network's own state dict.

    Returns:
        Tensors by the network's names; where none fits, those that come nearest, which the caller
        compares.

    Raises:
        SourceError: The file cannot be read, or holds no state dict.
    """
    document = _read(path)
    found = dict(_state_dicts(document))
    if not found:
        told = "nothing"
        if isinstance(document, dict):
            told = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in document.items())
        elif document is not None:
            told = type(document).__name__
        raise SourceError(
            f"weights: expected a state dict of tensors in {path}, got {told[:200]}; save "
            "model.state_dict()"
        )
    readings = {key: _fitted(state, expected) for key, state in found.items()}
    fitting = [key for key, state in readings.items() if set(state) == set(expected)]
    best = min(fitting or found, key=_place)
    rivals = [key for key in fitting if _place(key) == _place(best)]
    if len(rivals) > 1 and _place(best) == len(KEYS):
        raise SourceError(
            f"weights: expected one state dict that fits in {path}, got {', '.join(rivals)}; save "
            "the one that is meant"
        )
    return readings[best]


def _place(key: str) -> int:
    return -1 if not key else KEYS.index(key) if key in KEYS else len(KEYS)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SourceError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path))
        except (SafetensorError, OSError) as error:
            raise SourceError(f"weights: cannot read {path} ({error})") from error
    if path.suffix not in SUFFIXES:
        raise SourceError(
            f"weights: expected .safetensors, {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got "
            f"{path.name}"
        )
    try:
        # Training programs keep their options beside the weights; a namespace holds no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SourceError(
            f"weights: cannot read {path} as tensors only ({str(error).splitlines()[0]}); save "
            "model.state_dict()"
        ) from error


def _state_dicts(document: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Yield the state dicts in a checkpoint with the keys that hold them."""
    if not isinstance(document, Mapping) or not document:
        return
    if all(isinstance(name, str) for name in document) and all(
        isinstance(value, Tensor) for value in document.values()
    ):
        yield key, dict(document)
        return
    if depth < MAX_DEPTH:
        for name, value in document.items():
            yield from _state_dicts(value, str(name), depth + 1)


def _fitted(state: State, expected: Mapping[str, Tensor]) -> State:
    """Take off prefixes as long as that brings a state dict nearer, and add counters that it lacks.

    What stands beside a prefix, such as the weights of a loss, is no part of the network.
    """
    best = state
    pending, seen = [state], 0
    while pending and seen < 64:
        tried, seen = pending.pop(), seen + 1
        if len(set(tried) & set(expected)) > len(set(best) & set(expected)):
            best = tried
        for prefix in PREFIXES:
            inner = {
                name.removeprefix(prefix): tensor
                for name, tensor in tried.items()
                if name.startswith(prefix)
            }
            if inner:
                pending.append(inner)
    counters = {
        name: tensor
        for name, tensor in expected.items()
        if name.endswith(COUNTER) and name not in best
    }
    return {**best, **counters}
