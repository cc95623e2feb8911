"""A suspect seen through a filter: its labels only, or its classes in the bundle's order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import REFUSED, Capability, Predictions, Suspect, SuspectIdentity


class LabelsOnly:
    """Another suspect without its probabilities; satisfies `adapters.suspect.Suspect`."""

    capability = Capability.LABELS

    def __init__(self, suspect: Suspect) -> None:
        self.inner = suspect
        self.batch_size = suspect.batch_size
        self.concurrency = suspect.concurrency

    @property
    def identity(self) -> SuspectIdentity:
        """Say who is being asked."""
        return self.inner.identity

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify one batch; see `adapters.suspect.Suspect.predict`."""
        return dataclasses.replace(self.inner.predict(images), log_probabilities=None)

    def close(self) -> None:
        """Close the other suspect."""
        self.inner.close()


class Relabelled:
    """Answers as another suspect does, in the bundle's order of classes.

    Args:
        suspect: Whom to ask.
        order: The suspect's index of each of the bundle's K classes, each index once.
    """

    def __init__(self, suspect: Suspect, order: Sequence[int]) -> None:
        self.inner = suspect
        self._order = np.array(order, dtype=np.int64)

    @property
    def identity(self) -> SuspectIdentity:
        """Return the suspect's own, with the order among its details."""
        identity = self.inner.identity
        details = {**identity.details, "class_order": ",".join(map(str, self._order))}
        return dataclasses.replace(identity, details=details)

    @property
    def capability(self) -> Capability:
        """Say how much `predict` tells."""
        return self.inner.capability

    @property
    def batch_size(self) -> int:
        """Largest number of images in one call."""
        return self.inner.batch_size

    @property
    def concurrency(self) -> int:
        """Number of calls at once."""
        return self.inner.concurrency

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Classify a batch; arguments and errors as in `adapters.suspect.Suspect.predict`."""
        return reordered(self.inner.predict(images), self._order)

    def close(self) -> None:
        """Close the suspect."""
        self.inner.close()


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the answers to several batches as those to one.

    Args:
        parts: In order; one without probabilities tells nothing of any class where others have
            some.
    """
    rows = [part.log_probabilities for part in parts]
    known = next((row for row in rows if row is not None), None)
    log_probabilities = None
    if known is not None:
        nothing = np.full(known.shape[1], np.nan)
        log_probabilities = np.concatenate(
            [
                np.tile(nothing, (len(part.labels), 1)) if row is None else row
                for part, row in zip(parts, rows, strict=True)
            ]
        )
    return Predictions(
        labels=np.concatenate([part.labels for part in parts]),
        log_probabilities=log_probabilities,
        attempts=sum(part.attempts for part in parts),
        metadata={name: text for part in parts for name, text in part.metadata.items()},
    )


def reordered(given: Predictions, order: Sequence[int] | NDArray[np.int64]) -> Predictions:
    """Return a suspect's answers in the bundle's order of classes.

    Args:
        given: Labels ``[N]`` and log-probabilities ``[N, K]`` in the suspect's order.
        order: The suspect's index of each of the bundle's K classes, each index once.
    """
    columns = np.asarray(order, dtype=np.int64)
    # columns[bundle class] = suspect's index  ->  class_of[suspect's index] = bundle class
    class_of = np.argsort(columns)
    labels, rows = given.labels, given.log_probabilities
    return dataclasses.replace(
        given,
        # -1 stands for a refusal and stays one
        labels=np.where(labels == REFUSED, REFUSED, class_of[labels]),
        log_probabilities=None if rows is None else rows[:, columns],
    )
