"""Find the owner's images wherever they are kept, without decoding any.

Class folders, also in ZIP and tar files; lists of paths and classes; parquet files and saved data
sets of Hugging Face.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from generator.errors import ImagesError
from generator.images.entries import IMAGE_SUFFIXES, ImageEntry
from generator.images.folders import (
    TAR_SUFFIXES,
    folder_entries,
    loose_entries,
    other_files,
    tar_entries,
    zip_entries,
)
from generator.images.labelled import ImageList
from generator.images.lists import LIST_SUFFIXES, list_entries
from generator.images.tables import is_saved_data_set, table_entries


def list_images(
    locations: Sequence[Path], *, class_names: Sequence[str] | None = None
) -> ImageList:
    """List labelled images.

    Args:
        locations: Folders, ZIP or tar files (``archive.zip/train`` names a folder inside one), CSV
            or JSON-lines lists, parquet files, saved data sets; or what the names of several tar or
            parquet files begin with (``data/train`` for ``data/train-0001.parquet``).
        class_names: Class order; by default the one that the data name, that of class numbers, or
            the sorted names.

    Raises:
        ImagesError: No images, fewer than two classes, an unknown class, or a place that cannot be
            read; the message names it.
    """
    entries: list[ImageEntry] = []
    declared: set[tuple[str, ...]] = set()
    for location in locations:
        found, names = _entries(location)
        entries += found
        if names is not None:
            declared.add(names)
    if not entries:
        raise ImagesError(_nothing(locations))
    if class_names is None and len(declared) == 1:
        (class_names,) = declared
    ordered = _class_order(entries) if class_names is None else tuple(class_names)
    if len(ordered) < 2:
        raise ImagesError(
            f"images: expected at least 2 class folders, found {len(ordered)} "
            f"({', '.join(ordered)})"
        )
    index = {name: number for number, name in enumerate(ordered)}
    return ImageList(
        entries, np.array([_index(entry, index) for entry in entries], dtype=np.int64), ordered
    )


def list_unlabelled(locations: Sequence[Path]) -> ImageList:
    """List images of which no class is needed, wherever in a folder they lie.

    Args:
        locations: As in `list_images`.

    Raises:
        ImagesError: No images, or a place that cannot be read; the message names it.
    """
    entries: list[ImageEntry] = []
    for location in locations:
        if location.is_dir() and not is_saved_data_set(location):
            entries += loose_entries(location)
        else:
            entries += _entries(location)[0]
    if not entries:
        raise ImagesError(_nothing(locations))
    return ImageList(entries, np.zeros(len(entries), dtype=np.int64), ("unlabelled",))


def _entries(location: Path) -> tuple[list[ImageEntry], tuple[str, ...] | None]:
    archive, inner = _split_archive(location)
    if archive is None:
        if location.is_dir():
            if is_saved_data_set(location):
                return table_entries(location)
            found = folder_entries(location)
            return (found, None) if found else _shards(location, sorted(location.iterdir()))
        shards = sorted(location.parent.glob(f"{location.name}[-_]*"))
        if not any(map(_is_shard, shards)):
            raise ImagesError(
                f"images: {location} is neither a folder nor a ZIP, tar, parquet or list file"
            )
        return _shards(location, shards)
    if archive.name.lower().endswith(TAR_SUFFIXES):
        return tar_entries(archive, inner), None
    if archive.suffix == ".parquet":
        return table_entries(archive)
    if archive.suffix in LIST_SUFFIXES:
        return list_entries(archive), None
    return zip_entries(archive, inner), None


def _is_shard(path: Path) -> bool:
    return path.name.lower().endswith(TAR_SUFFIXES) or path.suffix == ".parquet"


def _shards(
    location: Path, paths: Sequence[Path]
) -> tuple[list[ImageEntry], tuple[str, ...] | None]:
    """Return what files that belong together hold."""
    shards = [path for path in paths if path.is_file() and _is_shard(path)]
    parts = {path.name.partition("-")[0] for path in shards if path.suffix == ".parquet"}
    if location.is_dir() and len(parts) > 1:
        listed = " or ".join(f"--images {location}/{part}" for part in sorted(parts))
        raise ImagesError(
            f"images: {location} holds parquet files of several parts; choose with {listed}"
        )
    tables = [path for path in shards if path.suffix == ".parquet"]
    if tables:
        return table_entries(location, tables)
    return [entry for path in shards for entry in tar_entries(path, "")], None


def _split_archive(location: Path) -> tuple[Path | None, str]:
    """Split ``a.zip/train`` into the archive and the prefix inside it."""
    for candidate in (location, *location.parents):
        if candidate.is_file():
            inner = location.relative_to(candidate).as_posix()
            return candidate, "" if inner == "." else f"{inner}/"
    return None, ""


def _class_order(entries: Sequence[ImageEntry]) -> tuple[str, ...]:
    numbers = [entry for entry in entries if entry.is_number]
    if not numbers:
        # Lexicographic also where folders are called "2" and "10", as torchvision has it.
        return tuple(sorted({entry.label for entry in entries}))
    named = next((entry for entry in entries if not entry.is_number), None)
    if named is not None:
        raise ImagesError(
            f"images: {numbers[0].name} has the class number {numbers[0].label} and {named.name} "
            f"the class name {named.label!r}; name the classes in order with --classes"
        )
    return tuple(map(str, range(1 + max(int(entry.label) for entry in numbers))))


def _index(entry: ImageEntry, index: dict[str, int]) -> int:
    if entry.label in index:
        return index[entry.label]
    if entry.is_number and int(entry.label) < len(index):
        return int(entry.label)
    names = tuple(index)
    kind = "class number" if entry.is_number else "class folder"
    raise ImagesError(
        f"images: {kind} {entry.label!r} is not one of the {len(names)} known classes "
        f"({', '.join(names[:12])}{', ...' if len(names) > 12 else ''})"
    )


def _nothing(locations: Sequence[Path]) -> str:
    others = sorted({end for place in locations if place.is_dir() for end in other_files(place)})
    told = f"; files that are there end in {', '.join(others[:6])}" if others else ""
    return (
        f"images: expected class folders with {', '.join(sorted(IMAGE_SUFFIXES))} files in "
        f"{', '.join(map(str, locations))}, found none{told}"
    )
