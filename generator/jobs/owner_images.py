"""The owner's images for a run: found, cut up by purpose, decoded, and looked at for what misleads.

What is not used is not decoded, and large sets are read from the disk as they are needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.errors import ImagesError
from generator.images.decoding import UNREADABLE, read_header
from generator.images.duplicates import find_duplicates, num_flat
from generator.images.entries import PartsError
from generator.images.labelled import ImageList, ImageSet
from generator.images.listing import list_images
from generator.images.reading import Reading, read_images
from generator.images.splits import ListedSplits, Splits, split_list
from generator.sources.contract import InputContract

MAX_TRAINING_BYTES, MAX_OTHER_BYTES = 1 << 30, 1 << 29
"""Pixels to train with, and pixels of each other purpose, unless more are asked for."""

_MAX_FLAT_SHARE = 0.5

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OwnerImages:
    """What an owner says about images."""

    images: Sequence[Path]
    held_out: Sequence[Path] = ()
    class_names: Sequence[str] | None = None
    max_images: int | None = None
    """Train models on so many; by default on what `MAX_TRAINING_BYTES` hold."""


def reading_for(
    contract: InputContract, *, skip_unreadable: bool = False, cache: Path | None = None
) -> Reading:
    """Return how files become what a network takes."""
    takes_colour = len(contract.mean) == 3 or contract.color_order == "BGR"
    return Reading(
        geometry=contract.geometry,
        channels=3 if takes_colour else None,
        skip_unreadable=skip_unreadable,
        cache=cache,
    )


def list_owner_images(owner: OwnerImages, tell: Tell) -> tuple[ImageList, ImageList | None]:
    """List the images, and those to judge by if there are any.

    A folder with ``train/`` and ``val/`` is taken apart.

    Raises:
        ImagesError: As of `generator.images.listing.list_images`.
    """
    held_out = owner.held_out
    try:
        images = list_images(owner.images, class_names=owner.class_names)
    except PartsError as parts:
        if len(owner.images) > 1 or held_out or parts.held_out is None:
            raise
        images = list_images([parts.training], class_names=owner.class_names)
        held_out = [parts.held_out]
        tell(f"Found parts of a data set: --images {parts.training} --held-out {parts.held_out}.")
    if not held_out:
        return images, None
    return images, list_images(held_out, class_names=images.class_names)


def split_owner_images(
    owner: OwnerImages, reading: Reading, rng: np.random.Generator, tell: Tell
) -> ListedSplits:
    """List the images and cut them up; none is decoded.

    Args:
        owner: What the owner says.
        reading: How they will be decoded.
        rng: Source of the split.
        tell: Says what the owner should know.

    Raises:
        ImagesError: No usable images, or too few.
    """
    images, held_out = list_owner_images(owner, tell)
    if held_out is None:
        tell(
            "No --held-out images: part of --images stands in. If the model was trained on them, "
            "its accuracy on the control images is too good and verdicts are less certain."
        )
    image_bytes = _image_bytes(images, reading)
    return split_list(
        images,
        held_out,
        max_training=_max_training(owner, len(images), image_bytes, tell),
        max_other=max(1, MAX_OTHER_BYTES // image_bytes),
        rng=rng,
    )


def read_training_images(
    owner: OwnerImages, reading: Reading, rng: np.random.Generator, tell: Tell
) -> ImageSet:
    """List and decode images to train with, class-balanced, in random order.

    Arguments and errors as of `split_owner_images`.
    """
    images, _ = list_owner_images(owner, tell)
    image_bytes = _image_bytes(images, reading)
    order = images.balanced_order(rng)[: _max_training(owner, len(images), image_bytes, tell)]
    (read,), _ = read_images([images.take(order)], reading)
    return read


def read_splits(listed: ListedSplits, reading: Reading, tell: Tell) -> Splits:
    """Decode the images of every purpose, and say what about them misleads.

    Raises:
        ImagesError: An image cannot be read, they are of different sizes, or most show nothing.
    """
    names, lists = zip(*vars(listed).items(), strict=True)
    sets, skipped = read_images(lists, reading)
    if skipped:
        tell(f"Skipped {len(skipped)} unreadable files, the first is {skipped[0]}.")
    splits = Splits(**dict(zip(names, sets, strict=True)))
    for name, images in zip(names, sets, strict=True):
        flat = num_flat(images)
        if flat > _MAX_FLAT_SHARE * len(images):
            raise ImagesError(
                f"images: {flat} of {len(images)} images of the {name} part are of one colour all "
                "over; look at the files, and at how --preprocess resizes and crops"
            )
    _tell_duplicates(listed, splits, tell)
    return splits


def _tell_duplicates(listed: ListedSplits, splits: Splits, tell: Tell) -> None:
    """Say which images to judge by were also trained on."""
    same = similar = total = 0
    first = ""
    for name in ("controls", "tuning", "candidates"):
        part: ImageSet = getattr(splits, name)
        found = find_duplicates(part, splits.training)
        same, similar, total = (
            same + len(found.same),
            similar + len(found.similar),
            total + len(part),
        )
        files = getattr(listed, name).entries
        if found.num and not first and len(files) == len(part):
            first = files[int([*found.same, *found.similar][0])].name
    if same or similar:
        named = f", the first is {first}" if first else ""
        tell(
            f"Of {total} images to judge by, {same} have the same pixels as one of the images to "
            f"train with and {similar} nearly the same{named}: accuracy on them is too good, and "
            "verdicts are less certain."
        )


def _max_training(owner: OwnerImages, num: int, image_bytes: int, tell: Tell) -> int:
    if owner.max_images is not None:
        return owner.max_images
    most = max(1, MAX_TRAINING_BYTES // image_bytes)
    if most < num:
        tell(
            f"Trains on {most} of {num} images, which take 1 GiB; --max-images sets another number."
        )
    return most


def _image_bytes(images: ImageList, reading: Reading) -> int:
    """Return how much an image takes once it is decoded, by the first that can be opened."""
    size = reading.geometry.size
    for entry in images.entries:
        if size is not None:
            break
        try:
            with entry.container.open(entry.key) as file:
                header = read_header(file)
        except UNREADABLE:
            continue
        size = header.height, header.width
        if isinstance(reading.geometry.resize, int):
            scale = reading.geometry.resize / min(size)
            size = round(size[0] * scale), round(size[1] * scale)
    return 1 if size is None else 3 * size[0] * size[1]
