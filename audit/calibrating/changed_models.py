"""What becomes of a judge's innocents on their way to a product: quantised, moved, behind a server.

A claim about innocent models is one about those, too: a bundle that clears a network and accuses
the same one in int8 accuses the innocent. Weights are changed in a process of its own
(`audit.calibrating.changed_weights`), images in front of a suspect. Nothing is trained here;
whoever can train hands in a `ModelChange`.
"""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity

IMAGE_CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "behind JPEG": lambda image: _jpeg(image),
    "behind resizing": lambda image: _resized(image),
}
WEIGHT_CHANGES = ("int8", "moved weights")
"""See `audit.calibrating.changed_weights`."""
ModelChange = Callable[[Sequence[Path]], Iterator[tuple[Path, Suspect | None]]]
"""Takes ONNX files, yields for each in turn its path and what becomes of it: ready to be asked
until the next one is wanted, or None where it cannot be changed."""

_JPEG_QUALITY = 75
_RESIZED = 0.8
"""Of the side, and back."""
_START_S, _EACH_S = 60.0, 60.0
"""Longest time for the libraries and for each file, seconds."""


class ChangedImages:
    """A suspect behind a change of its images.

    Args:
        suspect: Stays the caller's to close.
        name: Out of `IMAGE_CHANGES`.
    """

    def __init__(self, suspect: Suspect, name: str) -> None:
        self._suspect, self._name = suspect, name
        self._change = IMAGE_CHANGES[name]

    @property
    def identity(self) -> SuspectIdentity:
        """Say who is being asked, and how."""
        own = self._suspect.identity
        digest = hashlib.sha256(f"{own.digest}/{self._name}".encode()).hexdigest()
        return replace(own, digest=digest, details={**own.details, "images": self._name})

    @property
    def capability(self) -> Capability:
        """Say how much it tells: what the suspect does."""
        return self._suspect.capability

    @property
    def batch_size(self) -> int:
        """Return the suspect's."""
        return self._suspect.batch_size

    @property
    def concurrency(self) -> int:
        """Return the suspect's."""
        return self._suspect.concurrency

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify changed images; see `adapters.suspect.Suspect`."""
        return self._suspect.predict(np.stack([self._changed(image) for image in images]))

    def close(self) -> None:
        """Do nothing: the suspect is the caller's."""

    def _changed(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(self._change(shown), dtype=np.uint8).reshape(image.shape)


def change_weights(paths: Sequence[Path], how: str, folder: Path) -> dict[Path, Path]:
    """Write changed copies of ONNX files; those that cannot be changed are left out.

    Args:
        paths: The files.
        how: Out of `WEIGHT_CHANGES`.
        folder: Where the copies go.

    Returns:
        The copy of each.
    """
    jobs = {path: folder / f"{how}-{number}.onnx" for number, path in enumerate(paths)}
    command = [sys.executable, "-P", "-B", "-m", "audit.calibrating.changed_weights", how]
    pairs = json.dumps([[str(path.resolve()), str(copy)] for path, copy in jobs.items()])
    # What was written when the time is over is there.
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        subprocess.run(
            command,
            input=pairs.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            # The package's own place and nothing of the user's: no secret, no proxy.
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
            timeout=_START_S + _EACH_S * len(paths),
        )
    return {path: copy for path, copy in jobs.items() if copy.is_file()}


def _jpeg(image: Image.Image) -> Image.Image:
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=_JPEG_QUALITY)
    return Image.open(io.BytesIO(packed.getvalue()))


def _resized(image: Image.Image) -> Image.Image:
    width, height = image.size
    small = (max(1, round(_RESIZED * width)), max(1, round(_RESIZED * height)))
    return image.resize(small, Image.Resampling.BILINEAR).resize(
        (width, height), Image.Resampling.BILINEAR
    )
