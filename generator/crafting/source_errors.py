"""Natural images that the source gets wrong: its own mistakes, which a copy repeats."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from generator.crafting.clean_images import right_images
from generator.errors import GenerationError
from generator.sources.torch_suspect import predict_logits


def source_errors(
    source: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    num_images: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], int]:
    """Return images that a trained source classifies wrong.

    Args:
        source: Pixels in [0, 1] to logits.
        images: ``[M, H, W, C]``.
        labels: True classes ``[M]``.
        num_images: At most so many are returned.
        rng: Draws which, where there are more.

    Returns:
        Positions in a random order, ``[at most num_images]``, and how many errors there are.

    Raises:
        GenerationError: The source is near chance, so that its errors mean nothing, or it makes
            none; says the count.
    """
    right_images(source, images, labels, rng)  # refuses a source near chance
    # By the function that also says what a query's label is, so that the two agree.
    wrong = np.flatnonzero(predict_logits(source, images).argmax(axis=1) != labels)
    if not len(wrong):
        raise GenerationError(
            f"images: expected some that the source gets wrong, got none among {len(labels)}; give "
            "more with --held-out, which must not be those that it was trained on"
        )
    return rng.permutation(wrong)[:num_images], len(wrong)
