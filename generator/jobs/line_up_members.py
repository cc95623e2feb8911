"""Source and siblings of a line-up: read from their files, asked, and found to be trained."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Suspect, SuspectError
from audit.bundle.line_up import LineUpMember, encode
from audit.bundle.manifest import BundleContents
from audit.suspects.opening import open_file
from generator.errors import GenerationError
from generator.pools.siblings import Sibling
from generator.sources.contract import InputContract
from generator.sources.source import load_source
from generator.sources.torch_suspect import TorchSuspect, answer_all
from generator.training.device import prepare_device

_SOURCE = "source"
_TRAINED = 0.5
"""Share of the line-up's median accuracy that every member must reach."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """Source and siblings, and how they are read."""

    source: Path
    """The source's weights, or its ONNX file."""
    siblings: tuple[Sibling, ...]
    model: str | None
    """``file.py:factory`` or ``module:factory``; None where all are ONNX files."""
    made_by: Literal["command", "weights", "recipe"]
    made_how: str
    seed_commitment: str | None
    seed_from: str | None = None
    """Public value that the commitment follows from."""
    device: Literal["auto", "cpu", "cuda"]


def check_source(bundle: BundleContents, path: Path) -> None:
    """Refuse another model than the bundle's, before any sibling is trained.

    Raises:
        GenerationError: The file is another one, or cannot be read.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise GenerationError(f"source: cannot read {path}: {error.strerror}") from error
    expected = bundle.manifest.source.weights_sha256
    if digest != expected:
        raise GenerationError(
            f"source: expected the model of the bundle, with SHA-256 {expected}, got {digest}"
        )


def ask_members(
    bundle: BundleContents,
    members: Members,
    images: NDArray[np.uint8],
    report: Callable[[str, int, int], None],
) -> tuple[list[LineUpMember], NDArray[np.uint8], NDArray[np.uint8]]:
    """Ask source and siblings about images and the bundle's controls.

    Args:
        bundle: Has the control images.
        members: Who is asked.
        images: ``[N, H, W, C]``.
        report: Progress by stage.

    Returns:
        The members, the source first, and their codes ``[T, N, K]`` and ``[T, C, K]``.

    Raises:
        GenerationError: One cannot be read, or failed to train.
    """
    everybody = [Sibling(name=_SOURCE, weights=members.source, seed=None), *members.siblings]
    records, codes, control_codes = [], [], []
    for number, member in enumerate(everybody):
        suspect, digest = _open(bundle, members, member)
        try:
            codes.append(encode(answer_all(suspect, images)))
            control_codes.append(encode(answer_all(suspect, bundle.arrays.controls)))
        finally:
            suspect.close()
        records.append(LineUpMember(name=member.name, weights_sha256=digest, seed=member.seed))
        report("line-up", number + 1, len(everybody))
    _check_trained(
        [record.name for record in records], np.array(control_codes), bundle.arrays.control_labels
    )
    return records, np.array(codes), np.array(control_codes)


def _open(bundle: BundleContents, members: Members, member: Sibling) -> tuple[Suspect, str]:
    if member.weights.suffix == ".onnx":
        try:
            suspect = open_file(bundle, member.weights)
        except SuspectError as error:
            raise GenerationError(f"siblings: {member.weights}: {error}") from error
        return suspect, suspect.identity.digest
    if members.model is None:
        raise GenerationError(
            f"model: expected --model file.py:factory, which reads {member.weights.name}"
        )
    contract = InputContract.of(bundle.manifest.preprocessing)
    source = load_source(members.model, member.weights, contract=contract)
    model = source.model.to(prepare_device(members.device))
    return TorchSuspect(member.name, model), source.weights_sha256


def _check_trained(
    names: Sequence[str], control_codes: NDArray[np.uint8], labels: NDArray[np.int64]
) -> None:
    accuracies = (control_codes.argmin(axis=-1) == labels).mean(axis=-1)
    middle = float(np.median(accuracies))
    for name, accuracy in zip(names, accuracies, strict=True):
        if accuracy < _TRAINED * middle:
            raise GenerationError(
                f"siblings: {name} gets {accuracy:.0%} of the control images right, the line-up "
                f"{middle:.0%} in the middle; its training failed. Remove its file, and the same "
                "command trains it again"
            )
