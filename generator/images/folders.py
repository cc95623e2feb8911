"""Class folders: on disk, in a ZIP file, in a tar file (also in the style of WebDataset)."""

import io
import json
import tarfile
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from generator.errors import ImagesError
from generator.images.entries import (
    Container,
    ImageEntry,
    classes_of_paths,
    file_stamp,
    has_image_suffix,
    is_image,
    is_litter,
    shared_folder,
)

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_LABEL_SUFFIXES = ("cls", "json")
_LABEL_FIELDS = ("class_name", "label", "cls", "class")


class Folder:
    """Files on disk by their path."""

    def open(self, key: str) -> BinaryIO:
        """Open a file."""
        return Path(key).open("rb")

    def stamp(self, key: str) -> str:
        """Return the file's size and time."""
        return file_stamp(Path(key))


class ZipFile:
    """Members of a ZIP file by their name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ImagesError(f"images: {path} is not a ZIP file ({error})") from error

    @property
    def names(self) -> list[str]:
        """Return the members that are files, sorted."""
        return sorted(name for name in self._archive.namelist() if not name.endswith("/"))

    def open(self, key: str) -> BinaryIO:
        """Open a member, whole: pictures are read back and forth."""
        try:
            return io.BytesIO(self._archive.read(key))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise OSError(str(error)) from error

    def stamp(self, key: str) -> str:
        """Return the archive's size and time."""
        return f"{key}/{file_stamp(self._path)}"


class TarFile:
    """Members of a tar file by their number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            archive = tarfile.open(path)  # noqa: SIM115 (open for as long as its images are)
            weakref.finalize(self, archive.close)
            members = archive.getmembers()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ImagesError(f"images: {path} is not a tar file ({error})") from error
        self._archive = archive
        self.members = [member for member in members if member.isfile()]

    def open(self, key: str) -> BinaryIO:
        """Open a member, whole."""
        opened = self._archive.extractfile(self.members[int(key)])
        assert opened is not None, "only files are listed"
        with opened:
            return io.BytesIO(opened.read())

    def stamp(self, key: str) -> str:
        """Return the archive's size and time."""
        return f"{key}/{file_stamp(self._path)}"


def folder_entries(location: Path) -> list[ImageEntry]:
    """Return the images in the class folders of a folder.

    Raises:
        PartsError: They are parts of a data set, not classes.
    """
    paths = [
        path.relative_to(location)
        for path in sorted(location.rglob("*"))
        if has_image_suffix(path) and path.is_file()
    ]
    return _by_path(
        Folder(), str(location), [(str(location / path), PurePosixPath(path)) for path in paths]
    )


def loose_entries(location: Path) -> list[ImageEntry]:
    """Return all images of a folder and its folders, without classes."""
    found = sorted(path.relative_to(location) for path in location.rglob("*") if path.is_file())
    return [
        ImageEntry(Folder(), str(location / path), str(location / path), "unlabelled")
        for path in found
        if is_image(PurePosixPath(path))
    ]


def zip_entries(archive: Path, inner: str) -> list[ImageEntry]:
    """Return the images in the class folders of a ZIP file.

    Args:
        archive: The file.
        inner: Folder in it, with a slash at the end; empty for all of it.

    Raises:
        ImagesError: It is no ZIP file, or holds parts of a data set.
    """
    container = ZipFile(archive)
    found = [
        (name, PurePosixPath(name.removeprefix(inner)))
        for name in container.names
        if name.startswith(inner)
    ]
    return _by_path(container, f"{archive}/{inner}".rstrip("/"), found, shown=str(archive))


def tar_entries(archive: Path, inner: str) -> list[ImageEntry]:
    """Return the images of a tar file.

    A member ``a/0001.jpg`` beside ``a/0001.cls`` (class number or name) or ``a/0001.json`` (with
    ``label``, ``cls`` or ``class_name``) has that class, as in WebDataset; without any such member,
    classes are folders.

    Args:
        archive: The file.
        inner: Folder in it, with a slash at the end; empty for all of it.

    Raises:
        ImagesError: It is no tar file, holds parts of a data set, or a label cannot be read.
    """
    container = TarFile(archive)
    paths = [member.name.removeprefix("./") for member in container.members]
    images = [
        (str(number), PurePosixPath(path.removeprefix(inner)))
        for number, path in enumerate(paths)
        if path.startswith(inner)
    ]
    # WebDataset's key is the name up to the first dot of its last part.
    beside = {
        (_sample(path), path.rpartition(".")[2]): str(number)
        for number, path in enumerate(paths)
        if path.rpartition(".")[2] in _LABEL_SUFFIXES
    }
    if not beside:
        return _by_path(container, f"{archive}/{inner}".rstrip("/"), images, shown=str(archive))
    entries = []
    for key, path in images:
        if not is_image(path):
            continue
        name = paths[int(key)]
        text = None
        for suffix in _LABEL_SUFFIXES:
            label_key = beside.get((_sample(name), suffix))
            if label_key is not None and text is None:
                text = _label(container.open(label_key).read(), suffix)
        if text is None:
            raise ImagesError(
                f"images: expected a class for {archive}/{name}: a member {_sample(name)}.cls, or "
                f"{_sample(name)}.json with one of {', '.join(_LABEL_FIELDS)}"
            )
        entries.append(
            ImageEntry(container, key, f"{archive}/{name}", text, is_number=text.isdecimal())
        )
    return entries


def _sample(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}" if folder else last.partition(".")[0]


def _label(content: bytes, suffix: str) -> str | None:
    try:
        text = content.decode()
        if suffix == "cls":
            return text.strip() or None
        fields = json.loads(text)
    except (UnicodeDecodeError, ValueError):
        return None
    if not isinstance(fields, dict):
        return None
    found = (fields[name] for name in _LABEL_FIELDS if isinstance(fields.get(name), str | int))
    value = next(found, None)
    return None if value is None else str(value)


def _by_path(
    container: Container,
    location: str,
    found: Sequence[tuple[str, PurePosixPath]],
    shown: str | None = None,
) -> list[ImageEntry]:
    """Return the images among (key, path in the location), each with its folder as class."""
    images = [(key, path) for key, path in found if is_image(path)]
    shared = shared_folder([path for _, path in images])
    # What lies in no class folder, but beside them, has no class.
    images = [(key, path) for key, path in images if path.parent != shared]
    if not images:
        return []
    paths = [path.relative_to(shared) for _, path in images]
    labels = classes_of_paths(str(Path(location, shared)), paths)
    return [
        ImageEntry(container, key, str(Path(shown or location, path)), label)
        for (key, path), label in zip(images, labels, strict=True)
    ]


def other_files(location: Path) -> list[str]:
    """Return the endings of files in a folder that are no images, for a message."""
    paths = (path for path in location.rglob("*") if path.is_file())
    return sorted({path.suffix.lower() for path in paths if not is_litter(PurePosixPath(path))})
