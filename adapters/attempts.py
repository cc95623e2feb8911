"""What an endpoint tells whoever keeps its books: every request, before and after it is sent.

An observer that refuses a request (by raising) keeps it from being sent: that is how a budget is
hard.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adapters.tariff import SpendingLimits, Tariff

NUM_OTHERS = 3
"""Images that a suspect may be asked to see whether it is the image that it fails."""


class Result(StrEnum):
    """How one attempt ended."""

    ANSWERED = "answered"
    LATER = "later"
    """The server asks to come back later (429, 503)."""
    FAILED = "failed"
    """No answer, a broken one, or an error that may pass."""
    REFUSED = "refused"
    """An answer that asking again does not change."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request that is about to be sent."""

    number: int
    """1 for the first attempt of a batch."""
    num_images: int
    request_sha256: str
    """SHA-256 of the request's body."""


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """What became of it."""

    result: Result
    latency_s: float
    status: int | None
    """HTTP status; None where no answer came."""
    answer_sha256: str | None
    """SHA-256 of the answer's body; None where no whole one came."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Model and variant ids that came with the answer."""


class AttemptObserver(Protocol):
    """Keeps the books; called by several threads at once."""

    def aside(self) -> AbstractContextManager[object]:
        """Return what a thread is in while it waits, such as for the network.

        Whoever asks may hold something that other threads want, too; inside it is theirs.
        """
        ...

    def sending(self, attempt: Attempt) -> int:
        """Note that a request is about to be sent.

        Returns:
            A number that `ended` gets.

        Raises:
            Exception: It must not be sent.
        """
        ...

    def ended(self, handle: int, end: AttemptEnd) -> None:
        """Note what became of it, before its answer is used."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A suspect whose every request is observed and may cost money."""

    @property
    def tariff(self) -> Tariff:
        """Say what requests cost."""
        ...

    @property
    def limits(self) -> SpendingLimits:
        """Say what its file lets one audit send and cost."""
        ...

    @property
    def requests_per_second(self) -> float | None:
        """Say how fast requests may follow one another."""
        ...

    def watch(
        self,
        observer: AttemptObserver | None,
        *,
        has_answered: bool = False,
        others: NDArray[np.uint8] | None = None,
    ) -> None:
        """Tell this observer from now on; failures so far are forgotten.

        Args:
            observer: Keeps the books; None for nobody.
            has_answered: Whether it answered before, perhaps another process.
            others: Images ``[M, H, W, C]`` that may be asked, too: what it never answers while it
                answers those is a refusal. Without them it is an error.
        """
        ...

    def stop(self) -> None:
        """End all waiting; requests that are on their way end with their answers."""
        ...


def watchable(suspect: object) -> Watchable | None:
    """Return what can be watched of a suspect, also inside others such as `LabelsOnly`."""
    while (inner := getattr(suspect, "inner", None)) is not None:
        suspect = inner
    return suspect if isinstance(suspect, Watchable) else None
