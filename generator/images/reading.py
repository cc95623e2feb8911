"""Listed images as pixels of one shape: decoded a few at a time, and kept on disk where they are
many.
"""  # noqa: D205

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adapters.geometry import Geometry, apply_geometry
from generator.errors import ImagesError
from generator.images.decoding import UNREADABLE, ImageHeader, decode, read_header
from generator.images.labelled import ImageList, ImageSet
from generator.images.listing import list_images, list_unlabelled

CACHED_BYTES = 1 << 25
"""Pixels that are kept on disk, from so many bytes on: less is decoded in a second or two."""

_AT_ONCE = 64
"""Files whose content is in memory while they are decoded."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files become pixels."""

    geometry: Geometry = field(default_factory=Geometry)
    channels: Literal[1, 3] | None = None
    """Of the pixels; by default 1 if every image is grey, else 3."""
    skip_unreadable: bool = False
    """Leave out files that are no images instead of raising."""
    cache: Path | None = None
    """Folder for decoded pixels; they are then read from there, not held in memory."""


def load_images(
    locations: Sequence[Path],
    *,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
    max_images: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[ImageSet, list[str]]:
    """List images and decode them.

    Args:
        locations: As `list_images` takes them.
        class_names: Class order, as `list_images` takes it.
        reading: How.
        max_images: Keep at most this many, class-balanced, drawn with ``rng``.
        rng: Source of the draw; required with ``max_images``.

    Returns:
        The images, and the names of the files that were skipped.

    Raises:
        ImagesError: As `list_images` and `read_images` do.
    """
    listed = list_images(locations, class_names=class_names)
    if max_images is not None and max_images < len(listed):
        if rng is None:
            raise TypeError("load_images: max_images needs rng")
        listed = listed.take(np.sort(listed.balanced_order(rng)[:max_images]))
    (images,), skipped = read_images([listed], reading or Reading())
    return images, skipped


def load_unlabelled(
    locations: Sequence[Path], reading: Reading
) -> tuple[NDArray[np.uint8], list[str]]:
    """List images of which no class is needed, and decode them.

    Args:
        locations: As `list_unlabelled` takes them.
        reading: How.

    Returns:
        Pixels ``[N, H, W, C]``, and the names of the files that were skipped.

    Raises:
        ImagesError: As `list_unlabelled` and `read_images` do.
    """
    (images,), skipped = read_images([list_unlabelled(locations)], reading)
    return images.images, skipped


def read_images(lists: Sequence[ImageList], reading: Reading) -> tuple[list[ImageSet], list[str]]:
    """Decode lists of images to one shape.

    Args:
        lists: What to decode.
        reading: How.

    Returns:
        The images of each list, and the names of the files that were skipped.

    Raises:
        ImagesError: An unreadable file, or images of different sizes with nothing said about
            resizing; the message names the files.
    """
    with warnings.catch_warnings():
        # Pillow warns of odd metadata in files that it reads well.
        warnings.simplefilter("ignore")
        skipped: list[str] = []
        if reading.geometry.size is not None and reading.channels is not None:
            # The shape follows from what is said; files are looked at when they are decoded.
            shape = (*reading.geometry.size, int(reading.channels))
        else:
            lists, reading, shape, skipped = _surveyed(lists, reading)
        sets = []
        for listed in lists:
            images, more = _decoded(listed, reading, shape)
            sets.append(images)
            skipped += more
    return sets, skipped


def _surveyed(
    lists: Sequence[ImageList], reading: Reading
) -> tuple[list[ImageList], Reading, tuple[int, int, int], list[str]]:
    """Look at every header: return what can be opened, how it is read, its shape, what is left out.

    All before the first image is decoded, so that what does not fit is told at once.
    """
    size: tuple[int, int] | None = None
    first, is_grey = "", True
    kept_lists, skipped = [], []
    for listed in lists:
        kept = []
        for position in _order(listed):
            entry = listed.entries[position]
            try:
                with entry.container.open(entry.key) as file:
                    header = read_header(file)
            except UNREADABLE as error:
                _skip(listed, position, error, reading)
                skipped.append(entry.name)
                continue
            kept.append(position)
            is_grey &= header.is_grey
            found = _size(header, reading.geometry)
            if size is None:
                size, first = found, entry.name
            elif found != size:
                raise ImagesError(
                    f"images: expected one size, but {first} is {size[1]}x{size[0]} and "
                    f"{entry.name} is {found[1]}x{found[0]}; say with --preprocess how the model's "
                    "own evaluation resizes and crops"
                )
        if not kept:
            raise ImagesError(f"images: none of the {len(listed)} files could be read")
        kept_lists.append(listed.take(np.array(sorted(kept), dtype=np.int64)))
    assert size is not None, "there is an image, or an error"
    channels = reading.channels or (1 if is_grey else 3)
    return kept_lists, replace(reading, channels=channels), (*size, channels), skipped


def _size(header: ImageHeader, geometry: Geometry) -> tuple[int, int]:
    """Return height and width of the pixels."""
    if geometry.size is not None:
        return geometry.size
    # Resizing alone keeps the aspect: a picture without content has the size that it leads to.
    blank = Image.new("1", (header.width, header.height)) if geometry.resize is not None else None
    if blank is None:
        return header.height, header.width
    height, width, _ = apply_geometry(blank.convert("L"), geometry).shape
    return height, width


def _decoded(
    listed: ImageList, reading: Reading, shape: tuple[int, int, int]
) -> tuple[ImageSet, list[str]]:
    cached = None
    if reading.cache is not None and len(listed) * int(np.prod(shape)) >= CACHED_BYTES:
        cached = reading.cache / f"images-{_digest(listed, reading)}.npy"
        if cached.exists():
            return _mapped(cached, listed), []
        reading.cache.mkdir(parents=True, exist_ok=True)
    if cached is None:
        pixels = np.empty((len(listed), *shape), dtype=np.uint8)
        partial = None
    else:
        partial = cached.with_suffix(f".{os.getpid()}.part")
        pixels = _room(partial, (len(listed), *shape))
    try:
        skipped = []
        is_readable = np.ones(len(listed), dtype=bool)
        for position, array in _arrays(listed, reading):
            if isinstance(array, Exception):
                _skip(listed, position, array, reading)
                skipped.append(listed.entries[position].name)
                is_readable[position] = False
            else:
                pixels[position] = array
        if skipped:
            kept = np.flatnonzero(is_readable)
            if not len(kept):
                raise ImagesError(f"images: none of the {len(listed)} files could be read")
            return ImageSet(pixels[kept], listed.labels[kept], listed.class_names), skipped
        if cached is None or partial is None:
            return ImageSet(pixels, listed.labels, listed.class_names), []
        pixels.flush()  # type: ignore[attr-defined]  # a memory map
        os.replace(partial, cached)
        return _mapped(cached, listed), []
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _room(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return pixels that live in a file, for all of which the disk has room."""
    try:
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # A mapped file that finds the disk full ends the process, without a word.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ImagesError(
            f"work: cannot keep {int(np.prod(shape)) >> 20} MiB of pixels in {path.parent}: "
            f"{error.strerror}; make room, name another folder with --work, or take fewer with "
            "--max-images"
        ) from error
    return pixels


def _mapped(path: Path, listed: ImageList) -> ImageSet:
    # Copied on write, so that torch takes it; nobody writes.
    return ImageSet(np.load(path, mmap_mode="c"), listed.labels, listed.class_names)


def _arrays(
    listed: ImageList, reading: Reading
) -> Iterator[tuple[int, NDArray[np.uint8] | Exception]]:
    def pixels(position: int, content: bytes) -> NDArray[np.uint8] | Exception:
        try:
            picture = decode(io.BytesIO(content))
        except UNREADABLE as error:
            return error
        return apply_geometry(
            picture.convert("L" if reading.channels == 1 else "RGB"), reading.geometry
        )

    order = _order(listed)
    # Pillow decodes and resizes without Python's lock; files are read by this thread alone.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(order), _AT_ONCE):
            positions = order[start : start + _AT_ONCE]
            contents = []
            for position in positions:
                entry = listed.entries[position]
                with entry.container.open(entry.key) as file:
                    contents.append(file.read())
            yield from zip(positions, pool.map(pixels, positions, contents), strict=True)


def _order(listed: ImageList) -> list[int]:
    """Return the positions in the order in which containers read quickest."""
    containers: dict[int, int] = {}

    def place(position: int) -> tuple[int, int, str]:
        entry = listed.entries[position]
        number = int(entry.key) if entry.key.isdecimal() else 0
        rank = containers.setdefault(id(entry.container), len(containers))
        return rank, number, entry.key

    return sorted(range(len(listed)), key=place)


def _skip(listed: ImageList, position: int, error: Exception, reading: Reading) -> None:
    if not reading.skip_unreadable:
        raise ImagesError(
            f"images: cannot read {listed.entries[position].name} as an image ({error}); mend it "
            "or pass --skip-unreadable"
        ) from error


def _digest(listed: ImageList, reading: Reading) -> str:
    """Return what the pixels depend on, 16 hex digits."""
    digest = hashlib.sha256(repr((reading.geometry, reading.channels)).encode())
    for entry in listed.entries:
        digest.update(f"{entry.name}\0{entry.container.stamp(entry.key)}\0".encode())
    return digest.hexdigest()[:16]
