"""Labelled images from a folder or a ZIP file of class folders.

Layout: ``.../class/name.{png,jpg,jpeg,webp}``; a class is the folder that holds its images.
Nothing is resized or converted but to RGB: the bytes that the source was trained on are kept.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from generator.errors import ImagesError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with their classes."""

    images: NDArray[np.uint8]
    """Pixels ``[N, H, W, C]``, RGB or grey, 0-255."""
    labels: NDArray[np.int64]
    """Class index of each image, ``[N]``."""
    class_names: tuple[str, ...]
    """Names by class index, ``K`` of them."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def take(self, indices: NDArray[np.int64]) -> "ImageSet":
        """Return the images at ``indices``, in that order."""
        return ImageSet(self.images[indices], self.labels[indices], self.class_names)

    def balanced_order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return a random order in which every prefix is class-balanced as far as possible.

        Returns:
            A permutation of ``range(N)``.
        """
        rank = np.empty(len(self), dtype=np.int64)
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            rank[members] = rng.permutation(len(members))
        # First by round (one of each class a round), then at random within the round.
        return np.lexsort((rng.random(len(self)), rank))


def load_images(
    locations: Sequence[Path],
    *,
    class_names: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    max_images: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[ImageSet, list[str]]:
    """Load class folders.

    Args:
        locations: Folders or ZIP files; ``archive.zip/train`` names a folder inside a ZIP file.
        class_names: Class order; by default the sorted folder names.
        skip_unreadable: Leave out files that are no images instead of raising.
        max_images: Keep at most this many, class-balanced, drawn with ``rng``.
        rng: Source of the draw; required with ``max_images``.

    Returns:
        The images, and the names of the files that were skipped.

    Raises:
        ImagesError: No images, fewer than two classes, an unknown class, an unreadable file or
            images of different sizes; the message names the file.
    """
    entries = [entry for location in locations for entry in _entries(location)]
    if not entries:
        raise ImagesError(
            f"images: expected class folders with {', '.join(sorted(IMAGE_SUFFIXES))} files in "
            f"{', '.join(map(str, locations))}, found none"
        )
    found = sorted({entry.class_name for entry in entries})
    names = tuple(class_names) if class_names is not None else tuple(found)
    if len(names) < 2:
        raise ImagesError(
            f"images: expected at least 2 class folders, found {len(names)} ({', '.join(names)})"
        )
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise ImagesError(
            f"images: class folder {unknown[0]!r} is not one of the {len(names)} known classes "
            f"({', '.join(names[:12])}{', ...' if len(names) > 12 else ''})"
        )
    index = {name: number for number, name in enumerate(names)}
    labels = np.array([index[entry.class_name] for entry in entries], dtype=np.int64)
    if max_images is not None and max_images < len(entries):
        if rng is None:
            raise TypeError("load_images: max_images needs rng")
        dummy = ImageSet(np.zeros((len(entries), 1, 1, 1), np.uint8), labels, names)
        kept = np.sort(dummy.balanced_order(rng)[:max_images])
        entries, labels = [entries[i] for i in kept], labels[kept]
    pixels, readable, skipped = _decode_all(entries, skip_unreadable=skip_unreadable)
    return ImageSet(pixels, labels[readable], names), skipped


def load_unlabelled(
    locations: Sequence[Path], *, skip_unreadable: bool = False
) -> tuple[NDArray[np.uint8], list[str]]:
    """Load images of which no class is needed, wherever in the folders they lie.

    Args:
        locations: As in `load_images`.
        skip_unreadable: Likewise.

    Returns:
        Pixels ``[N, H, W, C]``, and the names of the files that were skipped.

    Raises:
        ImagesError: No images, an unreadable file or images of different sizes; names the file.
    """
    entries = [entry for location in locations for entry in _entries(location, needs_class=False)]
    if not entries:
        raise ImagesError(
            f"images: expected {', '.join(sorted(IMAGE_SUFFIXES))} files in "
            f"{', '.join(map(str, locations))}, found none"
        )
    pixels, _, skipped = _decode_all(entries, skip_unreadable=skip_unreadable)
    return pixels, skipped


@dataclass(frozen=True)
class _Entry:
    name: str
    class_name: str
    path: Path | None
    archive: Path | None

    @property
    def display_name(self) -> str:
        return f"{self.archive}/{self.name}" if self.archive else self.name


def _entries(location: Path, *, needs_class: bool = True) -> list[_Entry]:
    archive, inner = _split_archive(location)
    if archive is not None:
        try:
            with zipfile.ZipFile(archive) as opened:
                names = sorted(opened.namelist())
        except zipfile.BadZipFile as error:
            raise ImagesError(f"images: {archive} is not a ZIP file ({error})") from error
        return [
            _Entry(name, PurePosixPath(name).parent.name, None, archive)
            for name in names
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
            and name.startswith(inner)
            and (PurePosixPath(name).parent.name or not needs_class)
        ]
    if not location.is_dir():
        raise ImagesError(f"images: {location} is neither a folder nor a ZIP file")
    return [
        _Entry(str(path), path.parent.name, path, None)
        for path in sorted(location.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and (path.parent != location or not needs_class)
        and path.is_file()
    ]


def _split_archive(location: Path) -> tuple[Path | None, str]:
    """Split ``a.zip/train`` into the archive and the prefix inside it."""
    for candidate in (location, *location.parents):
        if candidate.is_file():
            inner = location.relative_to(candidate).as_posix()
            return candidate, "" if inner == "." else f"{inner}/"
    return None, ""


def _contents(entries: Iterable[_Entry]) -> Iterator[tuple[_Entry, bytes]]:
    archives: dict[Path, zipfile.ZipFile] = {}
    try:
        for entry in entries:
            if entry.archive is None:
                assert entry.path is not None
                yield entry, entry.path.read_bytes()
            else:
                if entry.archive not in archives:
                    archives[entry.archive] = zipfile.ZipFile(entry.archive)
                yield entry, archives[entry.archive].read(entry.name)
    finally:
        for archive in archives.values():
            archive.close()


def _decode_all(
    entries: Sequence[_Entry], *, skip_unreadable: bool
) -> tuple[NDArray[np.uint8], list[int], list[str]]:
    pixels: NDArray[np.uint8] | None = None
    first_name = ""
    readable: list[int] = []
    skipped: list[str] = []
    for position, (entry, content) in enumerate(_contents(entries)):
        try:
            with Image.open(io.BytesIO(content)) as image:
                grey = image.mode in ("1", "L")
                array = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            if skip_unreadable:
                skipped.append(entry.display_name)
                continue
            raise ImagesError(
                f"images: cannot read {entry.display_name} as an image; "
                "mend it or pass --skip-unreadable"
            ) from error
        if array.ndim == 2:
            array = array[:, :, None]  # [H, W] -> [H, W, 1]
        if pixels is None:
            pixels = np.empty((len(entries), *array.shape), dtype=np.uint8)
            first_name = entry.display_name
        elif array.shape != pixels.shape[1:]:
            raise ImagesError(
                f"images: expected one size, but {first_name} is {_size(pixels.shape[1:])} and "
                f"{entry.display_name} is {_size(array.shape)}; resize them to the model's input"
            )
        pixels[len(readable)] = array
        readable.append(position)
    if pixels is None:
        raise ImagesError(f"images: none of the {len(entries)} files could be read")
    return pixels[: len(readable)], readable, skipped


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} with {shape[2]} channel{'s' if shape[2] > 1 else ''}"
