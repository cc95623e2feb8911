"""A network's weights from a file, whichever way they were saved; never by running code of it.

``.safetensors``, and what ``torch.save`` wrote: a state dict, alone or inside a checkpoint
(Lightning's ``state_dict`` beside optimiser states), with the prefixes of whatever wrapped the
network (``module.`` of parallel wrappers, ``model.`` of Lightning).
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from generator.errors import SourceError

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".th")
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Where checkpoints keep the network's state dict."""

_COUNTER = ".num_batches_tracked"
"""Of a batch norm: has no influence on answers, and files from before PyTorch 0.4.1, or of other
programs, do without."""

Variants = Callable[[], Iterable[tuple[str, nn.Module]]]
"""Networks of a similar name, built on the meta device."""


def fill(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    name: str,
    variants: Variants = lambda: (),
) -> tuple[str, ...]:
    """Load weights into a network, in place, in float32.

    Args:
        network: Of the right architecture.
        state: Tensors by name, with or without a prefix.
        path: Where they come from, for messages.
        name: Of the network, for messages.
        variants: Similar networks, to tell which one the weights fit.

    Returns:
        What the owner should know.

    Raises:
        SourceError: They do not fit; names the parameters, and the variant that they fit.
    """
    expected = network.state_dict()
    prefix, found = without_prefix(state, expected)
    problem = _difference(expected, found)
    if problem is not None:
        fitting = next(
            (
                variant
                for variant, built in variants()
                if _difference(built.state_dict(), without_prefix(state, built.state_dict())[1])
                is None
            ),
            None,
        )
        advice = f"; they fit {fitting}" if fitting is not None else ""
        raise SourceError(f"weights: {path} does not fit {name}: {problem}{advice}")
    notes = []
    left = len(state) - len(found)
    if prefix and left:
        notes.append(f"Took the {len(found)} tensors under {prefix!r} of {path.name}; {left} others"
                     " are no part of the network.")  # fmt: skip
    reduced = {tensor.dtype for tensor in found.values()} & {torch.float16, torch.bfloat16}
    if reduced:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in reduced))
        notes.append(f"The weights are {names}; everything is computed in float32.")
    network.load_state_dict(
        {key: t.float() if t.is_floating_point() else t for key, t in found.items()}
        | {key: t for key, t in expected.items() if key not in found}
    )
    return tuple(notes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name.

    Raises:
        SourceError: No such file, not such a file, or one that would have to run code.
    """
    if not path.is_file():
        raise SourceError(f"weights: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.torch.load_file(path))
        except (SafetensorError, OSError) as error:
            raise SourceError(f"weights: cannot read {path} ({error})") from error
    if path.suffix not in TORCH_SUFFIXES:
        raise SourceError(
            f"weights: expected .safetensors, {', '.join(TORCH_SUFFIXES)}, got {path.name}"
        )
    try:
        # Training programs keep their options beside the weights; a namespace holds no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise SourceError(_unsafe(path, error)) from error
    state = _state_dict(saved)
    if state is None and isinstance(saved, dict) and (several := _networks(saved)):
        raise SourceError(
            f"weights: expected those of one network in {path}, got those of "
            f"{', '.join(map(repr, several))}; save one of them alone with torch.save"
        )
    if state is None:
        raise SourceError(
            f"weights: expected a state dict of tensors in {path}, got "
            f"{', '.join(map(repr, list(saved)[:5])) if isinstance(saved, dict) else type(saved)}"
        )
    if any(tensor.is_quantized for tensor in state.values()):
        raise SourceError(f"weights: expected float tensors in {path}, got quantised ones")
    return state


def _state_dict(saved: object) -> dict[str, Tensor] | None:
    if not isinstance(saved, dict):
        return None
    if saved and all(isinstance(value, Tensor) for value in saved.values()):
        return {str(name): tensor for name, tensor in saved.items()}
    for name in _INSIDE:
        state = _state_dict(saved.get(name))
        if state is not None:
            return state
    found = _networks(saved)
    return next(iter(found.values())) if len(found) == 1 else None


def _networks(saved: Mapping[object, object]) -> dict[str, dict[str, Tensor]]:
    """Return what holds a state dict, by its name, of a checkpoint with names of its own."""
    found = {str(name): _state_dict(value) for name, value in saved.items()}
    return {name: state for name, state in found.items() if state is not None}


def _unsafe(path: Path, error: Exception) -> str:
    """Say what is in a file that cannot be read as tensors, and the safe way."""
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever torch raises about a file that it cannot read
        classes = []
    if not classes:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"weights: cannot read {path} as tensors only ({first[:200]})"
    # The owner's own classes tell most.
    ordered = sorted(classes, key=lambda one: (one.startswith("torch."), one))
    listed = ", ".join(ordered[:3]) + (", ..." if len(classes) > 3 else "")
    return (
        f"weights: {path} holds Python objects besides tensors ({listed}), and reading it would "
        "run code of the file; where it was made, write the tensors alone with "
        "torch.save(model.state_dict(), 'weights.pt')"
    )


def without_prefix(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[str, dict[str, Tensor]]:
    """Return the prefix under which most of the expected names stand, and what stands there."""
    prefixes = {""}
    for name in state:
        parts = name.split(".")
        prefixes |= {".".join(parts[:depth]) + "." for depth in (1, 2, 3) if depth < len(parts)}

    def num_fitting(prefix: str) -> int:
        return sum(f"{prefix}{name}" in state for name in expected)

    # Of equal ones the shortest, which is also the one without.
    best = max(sorted(prefixes, key=lambda one: (len(one), one)), key=num_fitting)
    if not num_fitting(best):
        return "", dict(state)
    return best, {
        name.removeprefix(best): tensor for name, tensor in state.items() if name.startswith(best)
    }


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return in words how tensors differ from what a network expects; None if they do not."""
    missing = sorted(name for name in set(expected) - set(found) if not name.endswith(_COUNTER))
    surplus = sorted(set(found) - set(expected))
    told = [f"missing {_some(missing)}"] if missing else []
    told += [f"unknown {_some(surplus)}"] if surplus else []
    for name, tensor in expected.items():
        if name in found and found[name].shape != tensor.shape:
            told.append(
                f"{name}: expected shape {list(tensor.shape)}, got {list(found[name].shape)}"
            )
            break
    return "; ".join(told) or None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
