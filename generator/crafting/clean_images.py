"""Which clean images a method may start from: those that a trained source classifies right."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.errors import GenerationError
from generator.images.labelled import ImageSet
from generator.sources.torch_suspect import predict_logits

_MAX_CHANCE_BOUND = 0.9
"""However few images there are, a source that gets nine of ten right is no guess."""


def right_images(
    source: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], int]:
    """Return which images the source classifies right.

    Args:
        source: Pixels in [0, 1] to logits.
        images: ``[M, H, W, C]``.
        labels: True classes ``[M]``.
        rng: Draws the order.

    Returns:
        Their positions, in a random order in which every prefix is class-balanced as far as
        possible, and the number of classes K.

    Raises:
        GenerationError: The source is no better than the guess that always names the commonest
            class (by two standard errors): it is untrained or sees other images than it knows.
    """
    if not len(images):
        raise GenerationError("carriers: expected clean images, got none")
    logits = predict_logits(source, images)
    is_right = logits.argmax(axis=1) == labels
    chance = float(np.bincount(labels).max() / len(labels))
    bound = min(chance + 2 * (chance * (1 - chance) / len(labels)) ** 0.5, _MAX_CHANCE_BOUND)
    if is_right.mean() <= bound:
        raise GenerationError(
            f"source: expected more of the {len(labels)} clean images to be classified right than "
            f"a guess gets ({chance:.0%}), got {is_right.mean():.0%}, which is near chance; check "
            "the normalisation and the order of the classes"
        )
    positions = np.flatnonzero(is_right)
    # Balanced among those that are right, or every prefix would favour what the source does well.
    right = ImageSet(images[positions], labels[positions], ())
    return positions[right.balanced_order(rng)], logits.shape[1]
