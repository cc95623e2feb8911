"""The table ``[answer]`` of vendors that list their classes by name with a score each.

Most of them leave out what scores low, so what they name is taken for the likeliest classes unless
the file says that all are there.
"""

from typing import Literal

from adapters.strict_model import FrozenModel


class NamedAnswer(FrozenModel):
    """What the vendor's list is used for."""

    kind: Literal["top_k", "probabilities"] = "top_k"
    """``top_k``: the likeliest classes; ``probabilities``: all K, which the vendor must list and
    which must add up to 1."""
