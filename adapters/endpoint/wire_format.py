"""What a wire format is: how images become a request, and an answer becomes vendor labels.

Every module of `adapters.wire` is one wire format. It exports ``Description``, a subclass of
`adapters.endpoint.description.EndpointDescription` whose ``format`` is the module's name, and
``TEMPLATE``, the commented fields of its own for a new endpoint file, ``url`` first; a new format
is a new module here and nothing else. A format never sends anything, never holds a
secret and knows no class of the bundle: connections, retries, credentials and the class map are
the endpoint's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adapters.class_map import Label as Label
from adapters.class_map import Scores as Scores
from adapters.suspect import Capability


class AskAgainError(Exception):
    """This answer is unusable, but the same request may well be answered a moment later."""

    def __init__(
        self, reason: str, *, is_throttled: bool = False, retry_after_s: float | None = None
    ) -> None:
        """Say what happened.

        Args:
            reason: What came back, in words that fit after ``url: expected an answer, got``.
            is_throttled: The suspect asks to come back later.
            retry_after_s: Seconds that it asks for, where it says.
        """
        super().__init__(reason)
        self.reason = reason
        self.is_throttled = is_throttled
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class WireRequest:
    """One HTTP request, without credentials."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    id: str | None = None
    """Its number, in formats that number their requests."""


@dataclass(frozen=True, kw_only=True)
class WireAnswer:
    """What the vendor said about N images, in the vendor's words."""

    labels: tuple[Label, ...]
    """One per image, in order."""
    scores: tuple[Scores, ...] | None = None
    """One per image, where the format tells all K of them, or by label the likeliest."""
    scores_kind: Literal["probabilities", "logits", "top_k"] = "probabilities"
    """Logits become probabilities by softmax; ``top_k`` says that some classes are left out."""
    id: str | None = None
    """Number that the server gives, in formats that number requests: the request's, or its own."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Model and variant ids that came with the answer."""
    repeated: frozenset[str] = frozenset()
    """Labels that came more than once for one image: they stand for several classes."""
    listed: frozenset[Label] = frozenset()
    """All labels of such an image."""
    num_listed: int = 0
    """Entries of such an image, those that repeat a label included."""


class WireFormat(Protocol):
    """Encodes requests and decodes answers of one kind of server; used by several threads."""

    @property
    def batch_size(self) -> int:
        """Largest number of images in one request."""
        ...

    @property
    def capability(self) -> Capability:
        """Say how much an answer tells."""
        ...

    def encode(self, images: NDArray[np.uint8]) -> WireRequest:
        """Build the request; called anew for every attempt.

        Args:
            images: Pixels ``[N, H, W, C]`` in the size that the endpoint takes.
        """
        ...

    def decode(self, body: bytes, headers: Mapping[str, str], num_images: int) -> WireAnswer:
        """Read an answer with a status of success.

        Args:
            body: The answer, decompressed.
            headers: Of the answer; names compare without case.
            num_images: N of the request.

        Raises:
            AskAgainError: The answer is cut short.
            SuspectError: The answer is whole, but not what this format describes.
        """
        ...


@runtime_checkable
class SelfConfiguring(Protocol):
    """A wire format that asks the server about its model before the first image."""

    def question(self) -> WireRequest | None:
        """Return what to ask the server; None once everything is known."""
        ...

    def learn(self, body: bytes) -> None:
        """Read the answer to `question`.

        Raises:
            SuspectError: It does not say what the endpoint file leaves open.
        """
        ...


@runtime_checkable
class ReadsRefusals(Protocol):
    """A wire format whose servers put more into an error than its status says."""

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception | None:
        """Return what to raise for a status other than success.

        Returns:
            `AskAgainError` or a `SuspectError`; None where the status says enough.
        """
        ...
