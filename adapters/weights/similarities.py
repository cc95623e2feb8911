"""What a comparison of weights came to, as a value and as the text of a record.

The text is a word for each layer of the sketch, in its order: ``-`` where the file has no such
layer; otherwise the file's layer, a colon and the similarity in 1/10000, with an ``m`` if it took
another order of the filters. Then come numbers of layers of the file: ``layers`` that were read,
``hidden`` ones, and ``beyond`` what is looked at; those that are 0 are left out.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from adapters.weights.layer import NO_LAYER

GRID = 10_000
"""Similarities are multiples of 1 / `GRID`, so that sums of them are the same everywhere."""
UNREADABLE = "unreadable"
"""The text where the weights could not be read within the limits."""

_WORD = re.compile(r"(?P<partner>0|[1-9][0-9]{0,5}):(?P<steps>0|-?[1-9][0-9]{0,4})(?P<matched>m?)")
_COUNT = re.compile(r"(?P<what>layers|hidden|beyond)=(?P<number>[1-9][0-9]{0,6})")


@dataclass(frozen=True, kw_only=True)
class LayerSimilarity:
    """One of the source's layers, and what of the suspect's it is compared with."""

    partner: int
    """Number of the suspect's layer; `NO_LAYER` where there is none."""
    steps: int
    """Similarity in [-1, 1], in steps of 1 / `GRID`; 0 without a partner."""
    is_matched: bool = False
    """Whether it took another order of the filters."""

    @property
    def value(self) -> float:
        """Return the similarity, [-1, 1]."""
        return self.steps / GRID


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Of all layers of a sketch."""

    layers: tuple[LayerSimilarity, ...]
    num_layers: int = 0
    """Layers of the file that were read."""
    num_hidden: int = 0
    """Layers of the file whose weights are computed when it runs, or are no finite numbers."""
    num_beyond: int = 0
    """Layers of the file beyond what is looked at."""


def to_text(similarities: Similarities) -> str:
    """Return the text.

    Example:
        >>> found = LayerSimilarity(partner=3, steps=9871, is_matched=True)
        >>> missing = LayerSimilarity(partner=NO_LAYER, steps=0)
        >>> to_text(Similarities(layers=(found, missing), num_layers=9, num_hidden=2))
        '3:9871m - layers=9 hidden=2'
    """
    words = [
        "-"
        if layer.partner == NO_LAYER
        else f"{layer.partner}:{layer.steps}{'m' * layer.is_matched}"
        for layer in similarities.layers
    ]
    counts = {
        "layers": similarities.num_layers,
        "hidden": similarities.num_hidden,
        "beyond": similarities.num_beyond,
    }
    return " ".join([*words, *(f"{what}={number}" for what, number in counts.items() if number)])


def from_text(text: str) -> Similarities:
    """Read the text, which may be anybody's.

    Raises:
        ValueError: It is none; each value has one text.

    Example:
        >>> from_text("3:9871m - layers=9 hidden=2").layers[0].value
        0.9871
    """
    layers: list[LayerSimilarity] = []
    counts = {"layers": 0, "hidden": 0, "beyond": 0}
    for word in text.split(" "):
        if (count := _COUNT.fullmatch(word)) is not None:
            counts[count["what"]] = int(count["number"])
        elif word == "-":
            layers.append(LayerSimilarity(partner=NO_LAYER, steps=0))
        elif (layer := _WORD.fullmatch(word)) is not None:
            layers.append(
                LayerSimilarity(
                    partner=int(layer["partner"]),
                    steps=int(layer["steps"]),
                    is_matched=bool(layer["matched"]),
                )
            )
        else:
            raise ValueError(f"expected words such as 3:9871 or -, got {word[:20]!r}")
    found = Similarities(
        layers=tuple(layers),
        num_layers=counts["layers"],
        num_hidden=counts["hidden"],
        num_beyond=counts["beyond"],
    )
    if to_text(found) != text or any(abs(layer.steps) > GRID for layer in layers):
        raise ValueError("expected one word a layer, in order, with similarities in [-1, 1]")
    partners = [one.partner for one in layers if one.partner != NO_LAYER]
    if any(second <= first for first, second in pairwise(partners)):
        raise ValueError("expected the file's layers in their order, each once")
    return found
