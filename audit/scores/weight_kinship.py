"""Weight kinship: how similar a file's weights are to the source's, layer by layer.

A copy that was trained until its answers changed still lies near the source in weight space, while
networks that were trained independently lie at right angles to each other. The score is the mean
over the source's layers of the cosine between its layer and the file's (`adapters.weights`).

    kinship = 1/n sum_i cos(S_i, T_i),    0 for a layer i that the file does not have

Only files have weights; an endpoint has no such score.
"""

from collections.abc import Mapping
from dataclasses import replace

from adapters.suspect import WEIGHTS
from adapters.weights.layer import NO_LAYER
from adapters.weights.similarities import GRID, UNREADABLE, Similarities, from_text
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError

NAME = "weight-kinship"
MIN_SHARED = 0.25
"""Share of the source's layers that a file must have for its weights to be comparable."""


def weight_kinship(similarities: Similarities) -> float:
    """Return the score, in [-1, 1].

    Args:
        similarities: One for each of the source's layers, at least one.

    Example:
        >>> weight_kinship(from_text("0:9000 1:8000 - -"))
        0.425
    """
    # Integers, so that the sum is the same whatever its order.
    steps = sum(layer.steps for layer in similarities.layers)
    return steps / (GRID * len(similarities.layers))


def is_comparable(similarities: Similarities) -> bool:
    """Return whether a file shares enough layers with the source.

    Example:
        >>> is_comparable(from_text("0:100 - - -")), is_comparable(from_text("0:100 - - - -"))
        (True, False)
    """
    shared = sum(layer.partner != NO_LAYER for layer in similarities.layers)
    return shared > 0 and shared >= MIN_SHARED * len(similarities.layers)


def with_similarities(bundle: BundleContents, settings: Mapping[str, str]) -> BundleContents:
    """Return the bundle with what an audit's file came to by its sketch.

    Args:
        bundle: As its owner signed it.
        settings: Of an audit or a record, or the details of a suspect.

    Raises:
        AuditError: They hold no similarities of this sketch's layers.
    """
    text = settings.get(WEIGHTS)
    if text is None:
        return bundle
    if bundle.weights is None:
        raise AuditError(f"settings: {WEIGHTS}: expected none, because the bundle has no sketch")
    if text == UNREADABLE:
        return replace(bundle, similarities=Similarities(layers=()))
    try:
        found = from_text(text)
    except ValueError as error:
        raise AuditError(f"settings: {WEIGHTS}: {error}") from error
    expected = len(bundle.weights.record.layers)
    if len(found.layers) != expected:
        raise AuditError(
            f"settings: {WEIGHTS}: expected {expected} layers, those of the bundle's sketch, got "
            f"{len(found.layers)}"
        )
    return replace(bundle, similarities=found)
