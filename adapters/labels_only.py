"""A suspect of which an audit uses the labels only, whatever else it tells."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import Capability, Predictions, Suspect, SuspectIdentity


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
