"""Which natural images a line-up is asked about: those on which its members disagree.

Every member counts alike, whoever is the source: a choice that looked at the source only would
spoil the p-value. Sums are taken in sorted order, so that not even their last bit depends on who
stands where.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from audit.bundle.line_up import decode
from generator.crafting.near_duplicates import first_of_each

FLOOR = 0.05
"""Added to probabilities: below it members may disagree as they like."""


def disagreement(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how much a line-up disagrees about each image.

        sum_c mean_t p_t(c | x) Var_t log(p_t(c | x) + floor)

    Args:
        codes: What each member answers (`audit.bundle.line_up.encode`), ``[T, N, K]``.

    Returns:
        ``[N]``, at least 0.

    Example:
        >>> alike, apart = [[0, 99], [0, 99]], [[0, 99], [99, 0]]
        >>> disagreement(np.array([alike, apart], np.uint8).swapaxes(0, 1)).round(2)
        array([0.  , 2.25])
    """
    probabilities = np.sort(decode(codes), axis=0)
    weights = probabilities.mean(axis=0)
    spread = np.log(probabilities + FLOOR).var(axis=0)
    return np.asarray((weights * spread).sum(axis=-1))


def choose_questions(
    codes: NDArray[np.uint8], images: NDArray[np.uint8], *, num_questions: int, seed: str
) -> NDArray[np.int64]:
    """Return which images are asked, in the order of asking.

    Args:
        codes: ``[T, N, K]``.
        images: ``[N, H, W, C]``, each one once.
        num_questions: Largest number.
        seed: Decides the order, which is random so that what comes early is like what comes late.

    Returns:
        At most ``num_questions`` places; no two show nearly the same picture.
    """
    digests = [hashlib.sha256(seed.encode() + image.tobytes()).digest() for image in images]
    # By digest where the line-up disagrees as much, so that the order of the files plays no part.
    order = sorted(range(len(images)), key=lambda place: digests[place])
    told = -disagreement(codes)
    by_worth = sorted(order, key=lambda place: told[place])
    # Of nearly the same picture the one that they disagree about most.
    chosen = first_of_each(images, by_worth, num_questions)
    return np.array(sorted(chosen, key=lambda place: digests[place]), dtype=np.int64)


def distinct(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the places of images that stand there for the first time."""
    seen: dict[bytes, int] = {}
    for place, image in enumerate(images):
        seen.setdefault(hashlib.sha256(image.tobytes()).digest(), place)
    return np.array(sorted(seen.values()), dtype=np.int64)
