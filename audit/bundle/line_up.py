"""The line-up of a bundle: the source among its siblings, and what they answer to natural images.

A line-up needs no member's weights, only its class probabilities, kept in eight bits each. Who of
the members is the source, how the siblings were made and from which seeds stands in the manifest;
the numbers are a member of the bundle of their own (docs/bundle-format.md, section 7). It must
never hold anything that treats one member otherwise than the others, but the source's place.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from adapters.strict_model import FrozenModel
from audit.bundle.bounds import MIN_LEAD, Epsilon
from audit.signing.canonical import canonical_bytes, sha256_hex

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

CODE_STEP = 1 / 16
"""Nats between two codes: a probability is kept within 3 %."""
MAX_CODE = 255
"""Stands for e^-15.9 and everything less likely."""

MADE_BY = {
    "command": "the owner's own training command with other seeds: exactly exchangeable",
    "weights": "runs that the owner had: exchangeable if nothing was selected among them",
    "recipe": "Kinprint's training recipe: approximately exchangeable",
}
"""What each way to make siblings means for the p-value."""


class LineUpMember(FrozenModel):
    """The source or a sibling."""

    name: str
    weights_sha256: Sha256
    seed: Annotated[int, Field(ge=0)] | None
    """What its training began from; None where nobody noted it."""


class LineUpModel(FrozenModel):
    """A model that no member is: it calibrates, and never shapes what a member is worth."""

    name: str
    role: Literal["innocent", "derived"]
    """Innocents are the panel; derived models tell how many like them would be found."""
    kind: str
    """Such as ``other architecture``, ``hardened``, ``student of another model``."""
    lineage: str
    """The network that it is, or was made from: what is counted."""
    provenance: str
    weights_sha256: Sha256


class LineUpRecord(FrozenModel):
    """What the manifest says of a line-up."""

    made_by: Literal["command", "weights", "recipe"]
    """How the siblings were made, see `MADE_BY`."""
    made_how: str
    """The command or the recipe, in words."""
    seed_commitment: Sha256 | None
    """From what the siblings' seeds follow (`sibling_seed`); None where they were there before."""
    seed_from: Annotated[
        str | None, Field(min_length=1, max_length=500, exclude_if=lambda one: one is None)
    ] = None
    """Public value from which the commitment follows (`public_commitment`); None: the owner drew
    it."""
    source: Annotated[int, Field(ge=0)]
    """The source's place among the members."""
    members: Annotated[tuple[LineUpMember, ...], Field(min_length=2, strict=False)]
    """Source and siblings, T = J + 1, in the order of the ``member_*`` arrays."""
    models: Annotated[tuple[LineUpModel, ...], Field(strict=False)]
    """The panel, then derived models, in the order of the ``model_*`` arrays."""
    form: Literal["ranks", "logarithms"]
    """What an answer is worth to a member (`audit.scores.line_up`)."""
    epsilon: Epsilon
    """Added to probabilities by the form ``logarithms``."""
    lead_bound: Annotated[float, Field(ge=MIN_LEAD)]
    """Asking ends when a member leads all others by more than so many nats."""
    arrays: dict[str, Sha256]
    """SHA-256 of each array's raw bytes, by name."""
    arrays_file_sha256: Sha256
    """SHA-256 of ``line-up.safetensors``."""

    @property
    def num_siblings(self) -> int:
        """Return J."""
        return len(self.members) - 1

    @property
    def panel(self) -> tuple[LineUpModel, ...]:
        """Return the innocents, which come first among the models."""
        return tuple(model for model in self.models if model.role == "innocent")


@dataclass(frozen=True, kw_only=True)
class LineUpArrays:
    """The tensors; L questions, T members, V models, C control images, K classes."""

    questions: NDArray[np.uint8]
    """Natural images in the order of asking, ``[L, H, W, channels]``."""
    member_codes: NDArray[np.uint8]
    """What each member answers to each question (`encode`), ``[T, L, K]``."""
    member_control_codes: NDArray[np.uint8]
    """The same for the bundle's control images, ``[T, C, K]``."""
    model_labels: NDArray[np.int64]
    """Class that each model gives each question, ``[V, L]``."""
    model_codes: NDArray[np.uint8]
    """``[V, L, K]``"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineUp:
    """A line-up, checked to belong together; compared by identity, as its tensors are large."""

    record: LineUpRecord
    arrays: LineUpArrays


def encode(log_probabilities: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return log-probabilities as codes of one byte each.

    Args:
        log_probabilities: Natural, at most 0 but for rounding, ``[...]``.

    Returns:
        The nearest multiples of `CODE_STEP` below zero, ``[...]``; what is beyond `MAX_CODE` is
        that.

    Example:
        >>> encode(np.log([0.7, 0.2, 0.1, 1e-30]))
        array([  6,  26,  37, 255], dtype=uint8)
    """
    steps = np.rint(-log_probabilities / CODE_STEP)
    return np.asarray(np.clip(steps, 0, MAX_CODE).astype(np.uint8))


def decode(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return probabilities from codes ``[..., K]``; each row sums to 1."""
    probabilities = np.exp(-np.arange(MAX_CODE + 1) * CODE_STEP)[codes]
    return np.asarray(probabilities / probabilities.sum(axis=-1, keepdims=True))


def public_commitment(public_value: str, *, source_sha256: str, made_by: str, made_how: str) -> str:
    """Return the commitment of siblings that follows from a value which nobody chose.

    Args:
        public_value: `LineUpRecord.seed_from`.
        source_sha256: Of the source's weights.
        made_by: `LineUpRecord.made_by`.
        made_how: `LineUpRecord.made_how`.

    Returns:
        64 hex digits.
    """
    recipe = {"source_sha256": source_sha256, "made_by": made_by, "made_how": made_how}
    told = f"kinprint-line-up-v1 {sha256_hex(canonical_bytes(recipe))} {public_value}"
    return sha256_hex(told.encode())


def sibling_seed(commitment: str, number: int) -> int:
    """Return the seed of a sibling, which nobody can choose after the commitment.

    Args:
        commitment: `LineUpRecord.seed_commitment`, random, 64 hex digits.
        number: From 1 to J.

    Returns:
        0 to 2^31 - 1: every library takes such a seed.

    Example:
        >>> sibling_seed("00" * 32, 1)
        1567094251
    """
    digest = sha256_hex(f"kinprint-sibling-v1 {commitment} {number}".encode())
    return int(digest[:8], 16) >> 1
