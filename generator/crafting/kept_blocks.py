"""Descents in blocks of images, each on disk when it is finished, so that a killed run goes on.

An image's descent knows nothing of the others', so that blocks change nothing but when an answer
is safe.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from audit.atomic_file import write_atomically
from generator.crafting.descent import Descended, DescentSettings, Objective, descend
from generator.errors import GenerationError
from generator.training.ranks import current_ranks

_BLOCK_PIXELS = 64 * 32 * 32
"""Of a block: 64 CIFAR images, which is a batch; of larger images fewer, but some."""
_MIN_BLOCK = 8


@dataclass(frozen=True)
class KeptBlocks:
    """A folder in which finished blocks are kept."""

    work: Path
    stage: str
    """What the images are to become; part of the files' names."""
    digest: str
    """Of everything but images and goals that the result depends on."""

    def path(self, images: NDArray[np.uint8], goals: NDArray[np.int64]) -> Path:
        """Return where the block of some images is kept."""
        digest = hashlib.sha256(self.digest.encode() + images.tobytes() + goals.tobytes())
        return self.work / f"{self.stage}-{digest.hexdigest()[:16]}.safetensors"


def objective_digest(
    groups: Sequence[Sequence[nn.Module]], settings: DescentSettings, more: object
) -> str:
    """Return the SHA-256 of what a descent depends on besides the images.

    Args:
        groups: Models of the objective, in order.
        settings: Of the descent.
        more: Everything else, as JSON takes it.
    """
    digest = hashlib.sha256(json.dumps([asdict(settings), more]).encode())
    for group in groups:
        digest.update(f"group of {len(group)}".encode())
        for model in group:
            digest.update(repr(model).encode())
            for tensor in model.state_dict().values():
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def descend_in_blocks(
    objective: Objective,
    carriers: NDArray[np.uint8],
    goals: NDArray[np.int64],
    settings: DescentSettings,
    *,
    kept: KeptBlocks | None,
    on_step: Callable[[int, int], None] | None = None,
) -> Descended:
    """Minimise an objective around each carrier, block by block.

    Args:
        objective: As in `generator.crafting.descent.descend`, like the next three.
        carriers: Likewise.
        goals: Likewise.
        settings: Likewise.
        kept: Where finished blocks are; None keeps none.
        on_step: Called with (images finished, images in all) after every step.

    Raises:
        GenerationError: A block cannot be written; those before it are kept.
    """
    size = max(_MIN_BLOCK, _BLOCK_PIXELS // int(np.prod(carriers.shape[1:3])))
    done = []
    for start in range(0, len(carriers), size):
        images, labels = carriers[start : start + size], goals[start : start + size]

        def report(finished: int, total: int, start: int = start) -> None:
            if on_step is not None:
                on_step(start + finished, len(carriers))

        path = None if kept is None else kept.path(images, labels)
        found = None if path is None else _read(path, images)
        if found is None:
            found = descend(objective, images, labels, settings, on_step=report)
            # Every process descends alike; one of them writes.
            if path is not None and current_ranks().is_first:
                _write(path, found)
        report(len(images), len(images))
        done.append(found)
    if not done:
        return descend(objective, carriers, goals, settings)
    return Descended(
        images=np.concatenate([one.images for one in done]),
        losses=np.concatenate([one.losses for one in done]),
        steps=np.concatenate([one.steps for one in done]),
    )


def _write(path: Path, found: Descended) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "images": found.images,
        "losses": found.losses,
        "steps": found.steps,
    }
    try:
        write_atomically(path, [safetensors.numpy.save(arrays)])
    except OSError as error:
        raise GenerationError(
            f"work: cannot write {path}: {error.strerror}; finished images are kept, so make room "
            "and start again, or name another folder with --work"
        ) from error


def _read(path: Path, carriers: NDArray[np.uint8]) -> Descended | None:
    try:
        arrays = safetensors.numpy.load_file(path)
        found = Descended(images=arrays["images"], losses=arrays["losses"], steps=arrays["steps"])
    except (OSError, SafetensorError, KeyError):
        return None
    # A file that somebody cut or exchanged is made anew.
    is_whole = found.images.shape == carriers.shape and found.images.dtype == carriers.dtype
    return found if is_whole and len(found.losses) == len(carriers) else None
