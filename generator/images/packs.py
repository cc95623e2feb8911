"""Held-out images dealt to packs, so that no image of one pack tells of another's."""

import numpy as np

from generator.images.labelled import ImageSet


def deal(images: ImageSet, num_packs: int, rng: np.random.Generator) -> list[ImageSet]:
    """Deal images to packs, each class as evenly as it goes.

    Args:
        images: N of them.
        num_packs: How many parts.
        rng: Who gets which; not used for a single pack, which gets all as they are.
    """
    if num_packs == 1:
        return [images]
    parts: list[list[int]] = [[] for _ in range(num_packs)]
    for label in range(len(images.class_names)):
        members = rng.permutation(np.flatnonzero(images.labels == label))
        # Turned by the class: what is over of every class must not all go to the first pack.
        for place, index in enumerate(members):
            parts[(place + label) % num_packs].append(int(index))
    return [images.take(np.sort(np.array(part, dtype=np.int64))) for part in parts]
