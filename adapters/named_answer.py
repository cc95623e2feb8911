"""The table ``[answer]`` of vendors that list their classes by name with a score each.

Most of them leave out what scores low, so the best name is used unless the file says that all
classes are there.
"""

from typing import Literal

from adapters.endpoint_description import FrozenModel


class NamedAnswer(FrozenModel):
    """What the vendor's list is used for."""

    kind: Literal["top_k", "probabilities"] = "top_k"
    """``top_k``: the best class only; ``probabilities``: all K, which the vendor must list and
    which must add up to 1."""
