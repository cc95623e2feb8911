"""Which images may be a line-up's questions, and what an owner should know of them.

Whatever is left out is left out for all members alike. Only the last check asks who is the source:
one that was trained on the questions, as its siblings were not, would be picked by every suspect
that answers them rightly.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from audit.bundle.line_up import CODE_STEP
from audit.bundle.line_up_fairness import FAR
from audit.bundle.manifest import BundleContents
from generator.crafting.line_up_questions import distinct
from generator.crafting.near_duplicates import near_to_any
from generator.errors import GenerationError

MIN_IMAGES = 300
"""Images below which the power is told before anything else."""
SURER = 0.05
"""By how much members may be surer of the images than of control images, as a probability, before
somebody is asked whether they were trained on them."""
_MAD_TO_DEVIATION = 1.4826


def usable_images(
    bundle: BundleContents,
    images: NDArray[np.uint8],
    trained_on: NDArray[np.uint8] | None,
    tell: Callable[[str], None],
) -> NDArray[np.uint8]:
    """Return the images that may be asked, each one once, ``[N, H, W, C]``.

    Args:
        bundle: Whose task it is.
        images: As the owner gave them.
        trained_on: What members were trained on; what is nearly one of these is left out, too.
        tell: Says what an owner should know.

    Raises:
        GenerationError: They have another size, or none is left.
    """
    task = bundle.manifest.task
    expected = (task.height, task.width, task.channels)
    if images.shape[1:] != expected:
        raise GenerationError(
            f"images: expected {list(expected)} (height, width, channels) as in the bundle, got "
            f"{list(images.shape[1:])}"
        )
    kept = images[distinct(images)]
    if trained_on is not None and trained_on.shape[1:] == expected:
        known = {image.tobytes() for image in trained_on}
        is_known = np.array([image.tobytes() in known for image in kept], dtype=bool)
        kept = kept[~(is_known | near_to_any(kept, trained_on))]
        if not len(kept):
            raise GenerationError(
                "images: the members were trained on all of them; give images that they never saw"
            )
    if len(kept) < len(images):
        tell(f"Left out {len(images) - len(kept)} images that stand twice or were trained on.")
    if len(kept) < MIN_IMAGES:
        tell(
            f"Only {len(kept)} images: below {MIN_IMAGES} students and hardened copies are often "
            "missed. What the line-up finds of --derived models is told at the end."
        )
    if task.num_classes == 2:
        tell("With two classes an answer says little; expect to need many times the questions.")
    return kept


def check_unseen(
    codes: NDArray[np.uint8],
    control_codes: NDArray[np.uint8],
    source: int,
    tell: Callable[[str], None],
) -> None:
    """Refuse images that the source knows better than its siblings do.

    How much surer a member is of the images than of the control images has nothing to do with how
    well it is trained, only with what it was trained on.

    Args:
        codes: What the members answer to the images (`audit.bundle.line_up.encode`), ``[T, N, K]``.
        control_codes: The same for the control images, ``[T, C, K]``.
        source: Its place.
        tell: Says what an owner should know.

    Raises:
        GenerationError: The source stands out.
    """
    # The likeliest class has the smallest code. [T, N, K] -> [T]
    surer = control_codes.min(axis=-1).mean(axis=-1) - codes.min(axis=-1).mean(axis=-1)
    siblings = np.delete(surer, source)
    middle = np.median(surer)
    spread = max(float(np.median(np.abs(surer - middle))), 1e-3) * _MAD_TO_DEVIATION
    if surer[source] > siblings.max() and surer[source] - middle > FAR * spread:
        raise GenerationError(
            "images: the source is surer of them than of the control images by more than any "
            "sibling is: it was trained on some of them. Give images that no member was trained "
            "on, or name those that it was with --trained-on"
        )
    probabilities = [_probability(one) for one in (codes, control_codes)]
    if probabilities[0] - probabilities[1] > SURER:
        tell(
            f"The members are surer of these images ({probabilities[0]:.0%}) than of the control "
            f"images ({probabilities[1]:.0%}). If they were trained on some, give others, or name "
            "them with --trained-on: about those they agree, and a suspect shows nothing."
        )


def _probability(codes: NDArray[np.uint8]) -> float:
    """Return the mean probability of the likeliest class over all members and images."""
    return float(np.exp(codes.min(axis=-1) * -CODE_STEP).mean())
