"""What a suspect said to one question: what the journal keeps and a verdict is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One suspect's answer to one image."""

    label: int
    """Class, or `adapters.suspect.REFUSED`."""
    log_probabilities: NDArray[np.float64] | None
    """``[K]`` where the suspect gave them."""
