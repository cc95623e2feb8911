"""Image files and the names of their classes: what every way of keeping images comes down to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, Protocol

from generator.errors import ImagesError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)
_OTHER_SUFFIXES = frozenset({".avif", ".heic", ".heif", ".jp2", ".jxl"})
"""Not everywhere can these be read: rather an error that names the file than a class that is not
there."""

_LITTER = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"})
"""Folders that systems leave among people's files, often with small pictures in them."""

_TRAINING_PARTS = frozenset({"train", "training", "trn"})
_PARTS = _TRAINING_PARTS | {"val", "valid", "validation", "dev", "test", "testing", "tst", "eval"}
"""Names of the parts of a data set, in lower case."""


class Container(Protocol):
    """Where images lie: a folder, an archive, a table."""

    def open(self, key: str) -> BinaryIO:
        """Open one image; may be called in any order, quickest in that of the entries."""
        ...

    def stamp(self, key: str) -> str:
        """Return what changes when the image does, without reading it."""
        ...


@dataclass(frozen=True)
class ImageEntry:
    """One image and what it is called."""

    container: Container
    key: str
    """Names it within the container."""
    name: str
    """Names it to people."""
    label: str
    """Class name or, where ``is_number``, class index in digits."""
    is_number: bool = False


class PartsError(ImagesError):
    """The place holds the parts of a data set (``train/``, ``val/``), not classes.

    Args:
        location: As the user named it.
        parts: Names of the folders in it.
    """

    def __init__(self, location: str, parts: Sequence[str]) -> None:
        training = next((part for part in parts if part.lower() in _TRAINING_PARTS), parts[0])
        # The one to choose by, where there are two to judge by.
        others = sorted(
            (part for part in parts if part != training),
            key=lambda part: not part.lower().startswith(("val", "dev")),
        )
        self.training = Path(location, training)
        """Where the images to train with are."""
        self.held_out = Path(location, others[0]) if others else None
        """Where the images to judge by are, if anywhere."""
        advice = f"give --images {self.training}" + (
            f" --held-out {self.held_out}" if self.held_out else ""
        )
        super().__init__(
            f"images: {location} holds {', '.join(f'{part}/' for part in parts)}, the parts of a "
            f"data set, not classes; {advice}"
        )


def file_stamp(path: Path) -> str:
    """Return size and time of the last change of a file."""
    status = path.stat()
    return f"{status.st_size}/{status.st_mtime_ns}"


def is_litter(path: PurePosixPath) -> bool:
    """Return whether a path inside a container is none of the user's: hidden, or a system's."""
    return any(part.startswith(".") or part in _LITTER for part in path.parts)


def is_image(path: PurePosixPath) -> bool:
    """Return whether a path is an image of the user's by its name."""
    return has_image_suffix(path) and not is_litter(path)


def has_image_suffix(path: PurePath) -> bool:
    """Return whether a path ends as an image's does."""
    return path.suffix.lower() in IMAGE_SUFFIXES | _OTHER_SUFFIXES


def shared_folder(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the folder that holds the class folders: archives often begin with one of their own.

    Args:
        paths: Of images, relative to where they were looked for.
    """
    folders = {path.parent for path in paths}
    if len(folders) == 1:  # one class
        return next(iter(folders)).parent
    parts = [folder.parts for folder in folders]
    same = takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False))
    return PurePosixPath(*(names[0] for names in same))


def classes_of_paths(location: str, paths: Sequence[PurePosixPath]) -> list[str]:
    """Return the class of each path: the folder that holds it.

    A folder that holds every image of every class (``cat/images/1.png``, ``dog/images/1.png``) is
    passed over.

    Args:
        location: As the user named it.
        paths: Relative to the location, each in at least one folder.

    Raises:
        PartsError: The folders are the parts of a data set.
    """
    folders = [path.parts[:-1] for path in paths]
    tops = sorted({parts[0] for parts in folders})
    if len(tops) > 1 and all(top.lower() in _PARTS for top in tops):
        raise PartsError(location, tops)
    while len({parts[-1] for parts in folders}) == 1 and all(len(parts) > 1 for parts in folders):
        folders = [parts[:-1] for parts in folders]
    return [parts[-1] for parts in folders]
