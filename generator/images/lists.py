"""A list of images and their classes: CSV with or without a header, or JSON lines.

A path is relative to the list's folder.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from generator.errors import ImagesError
from generator.images.entries import ImageEntry, is_image
from generator.images.folders import Folder

LIST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")

PATH_FIELDS = ("path", "file_name", "filename", "file", "image", "image_path", "img")
LABEL_FIELDS = ("label", "class_name", "class", "category", "target", "labels", "fine_label")


def list_entries(location: Path) -> list[ImageEntry]:
    """Return the images of a list.

    A label in digits is a class number.

    Raises:
        ImagesError: The list cannot be read, a line names no image or no class, or a file is not
            there; the message names the line.
    """
    folder = Folder()
    entries = []
    try:
        for line, path, label in _rows(location):
            full = location.parent / path
            if not full.is_file():
                raise ImagesError(f"images: {location}, line {line}: there is no file {full}")
            entries.append(ImageEntry(folder, str(full), str(full), label, label.isdecimal()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImagesError(f"images: cannot read {location} ({error})") from error
    return entries


def _rows(location: Path) -> Iterator[tuple[int, str, str]]:
    """Yield number, path and label of each line."""
    is_table = location.suffix in (".csv", ".tsv")
    rows = _table_rows(location) if is_table else _json_rows(location)
    for line, path, label in rows:
        if not path or not label:
            raise ImagesError(
                f"images: {location}, line {line}: expected a path and a class, got "
                f"{path or 'no path'!r} and {label or 'no class'!r}"
            )
        yield line, path, label


def _table_rows(location: Path) -> Iterator[tuple[int, str, str]]:
    with location.open(encoding="utf-8-sig", newline="") as opened:
        first = opened.readline()
        opened.seek(0)
        # The sniffer guesses wrongly on paths with many of one letter.
        delimiter = max(",;\t", key=first.count)
        places = (0, 1)
        for number, cells in enumerate(csv.reader(opened, delimiter=delimiter), start=1):
            if not cells:
                continue
            if number == 1 and not any(is_image(PurePosixPath(cell)) for cell in cells):
                places = _places([cell.strip().lower() for cell in cells], location)
                continue
            if len(cells) <= max(places):
                yield number, "", ""
            else:
                yield number, cells[places[0]].strip(), cells[places[1]].strip()


def _places(header: list[str], location: Path) -> tuple[int, int]:
    found = []
    for kind, names in (("path", PATH_FIELDS), ("class", LABEL_FIELDS)):
        place = next((header.index(name) for name in names if name in header), None)
        if place is None:
            raise ImagesError(
                f"images: {location}: expected a column with the {kind} ({', '.join(names)}), got "
                f"{', '.join(header)}"
            )
        found.append(place)
    return found[0], found[1]


def _json_rows(location: Path) -> Iterator[tuple[int, str, str]]:
    with location.open(encoding="utf-8") as opened:
        for number, text in enumerate(opened, start=1):
            if not text.strip():
                continue
            try:
                fields = json.loads(text)
            except ValueError as error:
                raise ImagesError(
                    f"images: {location}, line {number}: expected JSON ({error})"
                ) from error
            if not isinstance(fields, dict):
                raise ImagesError(f"images: {location}, line {number}: expected a JSON object")
            yield number, _field(fields, PATH_FIELDS), _field(fields, LABEL_FIELDS)


def _field(fields: dict[str, object], names: tuple[str, ...]) -> str:
    values = (fields[name] for name in names if isinstance(fields.get(name), str | int))
    return str(next(values, ""))
