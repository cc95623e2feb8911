"""What every suspect offers to an audit, and how asking it can fail.

SuspectError                      the suspect could not be asked or did not answer usably
├── SuspectConfigError            what the auditor wrote (file, option, TOML field) is wrong
│   └── OtherTaskError            nothing is wrong, but the suspect is about another task
├── SuspectUnreachableError       nobody there, refused, or no credentials (nothing was learned)
└── SuspectThrottledError         it keeps saying "later"; what was answered is kept, resume later
    └── SuspectFailingError       it answered before, and now fails again and again
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MERGED_CLASSES = "merged_classes"
"""Detail of a suspect that takes several of the bundle's classes for one (`groups_text`)."""

ABSENT_CLASSES = "absent_classes"
"""Detail of a suspect that does not have some of the bundle's classes (`absent_text`)."""
WEIGHTS = "weights"
"""Detail of a file whose weights were compared with a bundle's sketch."""

REFUSED = -1
"""Label of an image for which the suspect gave no class (refusal, empty answer)."""


class SuspectError(Exception):
    """The suspect could not be asked, or did not answer with one class per image."""


class SuspectConfigError(SuspectError):
    """An option, file or field that describes the suspect is wrong."""


class OtherTaskError(SuspectConfigError):
    """The suspect classifies something else than the bundle: other classes, or other images."""


class SuspectUnreachableError(SuspectError):
    """The suspect cannot be reached or refuses to talk to us."""


class SuspectThrottledError(SuspectError):
    """The suspect asks to come back later; the audit can be resumed."""


class SuspectFailingError(SuspectThrottledError):
    """The suspect answered before and has begun to fail; the audit can be resumed."""


class Capability(IntEnum):
    """How much a suspect tells about an image; each level includes the ones below."""

    LABELS = 1
    TOP_K = 2
    PROBABILITIES = 3


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A suspect's answers to one batch of N images over K classes."""

    labels: NDArray[np.int64]
    """Class per image ``[N]``, 0..K-1, or `REFUSED`."""
    log_probabilities: NDArray[np.float64] | None = None
    """Natural log of the probabilities ``[N, K]``, from logits in float64 where there are some; NaN
    for a class of which nothing is told (top-k)."""
    attempts: int = 1
    """Requests that it took to get this batch, failed ones included."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the suspect said about itself with this answer (model or variant ids)."""


@dataclass(frozen=True, kw_only=True)
class SuspectIdentity:
    """What an audit was made of, in words and digests; never holds a secret."""

    kind: str
    """``onnx`` or ``endpoint``."""
    name: str
    """File name, or URL without credentials and query."""
    digest: str
    """SHA-256 in hex of the ONNX file's bytes, or of the endpoint's description."""
    details: dict[str, str] = field(default_factory=dict)
    """Anything else worth recording: provider really used, opset, output kind, wire format."""


def groups_text(groups: tuple[tuple[int, ...], ...]) -> str:
    """Return groups of classes as they stand in details, journals and records.

    Example:
        >>> groups_text(((1, 9), (3, 4)))
        '1=9;3=4'
    """
    return ";".join("=".join(map(str, group)) for group in groups)


def absent_text(absent: tuple[int, ...]) -> str:
    """Return absent classes as they stand in details, journals and records.

    Example:
        >>> absent_text((3, 7))
        '3,7'
    """
    return ",".join(map(str, absent))


class Suspect(Protocol):
    """A deployed classifier under audit."""

    @property
    def identity(self) -> SuspectIdentity:
        """Say who is being asked."""
        ...

    @property
    def capability(self) -> Capability:
        """Say how much `predict` tells."""
        ...

    @property
    def batch_size(self) -> int:
        """Largest number of images that `predict` takes."""
        ...

    @property
    def concurrency(self) -> int:
        """Number of threads that may call `predict` at once."""
        ...

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch.

        Args:
            images: Pixels ``[N, H, W, C]``, RGB or grey, 0-255, N at most `batch_size`.

        Returns:
            N labels; log-probabilities ``[N, K]`` where the suspect gives them.

        Raises:
            SuspectError: The suspect did not answer with N labels.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections; `predict` fails afterwards."""
        ...
