"""Images in columns: parquet files, and data sets that Hugging Face's ``datasets`` saved.

Read with pyarrow, which is loaded only here, and never with ``datasets``: no code of a data set
runs. An image column holds bytes, or ``{bytes, path}``; the order of the classes is the one that
the file names, if it does.
"""

import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from adapters.extras import require
from generator.errors import ImagesError
from generator.images.entries import ImageEntry, PartsError, file_stamp
from generator.images.lists import LABEL_FIELDS

_IMAGE_FIELDS = ("image", "img", "picture", "jpg", "png")


class Rows:
    """Rows of one table, a block of rows in memory at a time.

    Args:
        path: Parquet file, or a file of Arrow's stream format.
        folder: What paths of images are relative to.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet

        self._path, self._folder = path, folder
        try:
            if path.suffix == ".parquet":
                file = pyarrow.parquet.ParquetFile(path)
                self.schema = file.schema_arrow
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
                self._read: Any = partial(_row_group, file)
                self._all: Any = partial(_column, file)
            else:
                # Mapped, not read: rows come from the disk when they are looked at.
                table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
                self.schema = table.schema
                sizes = [len(table)]
                self._read = lambda _, column: table.column(column)
                self._all = table.column
        except (pyarrow.ArrowException, OSError) as error:
            raise ImagesError(f"images: cannot read {path} ({error})") from error
        self._starts = [sum(sizes[:number]) for number in range(len(sizes))]
        self.num_rows = sum(sizes)
        self._block: tuple[int, Any] = (-1, None)
        self._image = self._column(_IMAGE_FIELDS, "image", self._is_image)
        self._label = self._column(LABEL_FIELDS, "class", lambda field: False)

    @property
    def labels(self) -> list[Any]:
        """Return what the column of classes holds."""
        values: list[Any] = self._all(self._label).to_pylist()
        return values

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Return the classes that the file itself names, in order."""
        described = (self.schema.metadata or {}).get(b"huggingface")
        if described is None:
            return None
        return declared_names(json.loads(described)["info"]["features"], self._label)

    @property
    def label_column(self) -> str:
        """Return the name of the column of classes."""
        return self._label

    def open(self, key: str) -> BinaryIO:
        """Open the image of a row."""
        row = int(key)
        block = max(number for number, start in enumerate(self._starts) if start <= row)
        if self._block[0] != block:
            self._block = (block, self._read(block, self._image))
        value = self._block[1][row - self._starts[block]].as_py()
        if isinstance(value, dict):
            if value.get("bytes") is None:
                return (self._folder / str(value.get("path"))).open("rb")
            value = value["bytes"]
        if not isinstance(value, bytes):
            raise OSError("the row holds no image")
        return io.BytesIO(value)

    def stamp(self, key: str) -> str:
        """Return the file's size and time."""
        return f"{key}/{file_stamp(self._path)}"

    def _column(self, names: Sequence[str], kind: str, fits: Any) -> str:
        columns = {field.name.lower(): field for field in self.schema}
        for name in names:
            if name in columns:
                return str(columns[name].name)
        for field in self.schema:
            if fits(field):
                return str(field.name)
        raise ImagesError(
            f"images: {self._path}: expected a column with the {kind} ({', '.join(names)}), got "
            f"{', '.join(self.schema.names)}"
        )

    @staticmethod
    def _is_image(field: Any) -> bool:
        import pyarrow.types

        kind = field.type
        return bool(
            pyarrow.types.is_binary(kind)
            or (pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
        )


def is_saved_data_set(folder: Path) -> bool:
    """Return whether ``datasets`` saved a data set, or several parts of one, in a folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def table_entries(
    location: Path, files: Sequence[Path] = ()
) -> tuple[list[ImageEntry], tuple[str, ...] | None]:
    """Return the images of parquet files or of a saved data set, and the classes they name.

    Args:
        location: As the user named it: a parquet file, or the folder of a saved data set.
        files: Parquet files that belong together; by default the location alone.

    Raises:
        ImagesError: pyarrow is not installed, a table cannot be read, or has no images or classes.
        PartsError: The folder holds several parts.
    """
    require("pyarrow", by=f"images: {location}", error=ImagesError)
    features = None
    if location.is_dir() and not files:
        try:
            if (location / "dataset_dict.json").is_file():
                saved = json.loads((location / "dataset_dict.json").read_text(encoding="utf-8"))
                raise PartsError(str(location), saved["splits"])
            state = json.loads((location / "state.json").read_text(encoding="utf-8"))
            files = [location / data["filename"] for data in state["_data_files"]]
            described = location / "dataset_info.json"
            if described.is_file():
                features = json.loads(described.read_text(encoding="utf-8")).get("features")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ImagesError(f"images: cannot read {location} as a data set ({error})") from error
    entries: list[ImageEntry] = []
    names: tuple[str, ...] | None = None
    for path in files or [location]:
        rows = Rows(path, location if location.is_dir() else location.parent)
        names = (
            rows.class_names if features is None else declared_names(features, rows.label_column)
        )
        for number, label in enumerate(rows.labels):
            shown = f"{path}, row {number}"
            if isinstance(label, int) and names is not None and 0 <= label < len(names):
                entries.append(ImageEntry(rows, str(number), shown, names[label]))
            elif isinstance(label, int | str) and not isinstance(label, bool):
                entries.append(
                    ImageEntry(rows, str(number), shown, str(label), isinstance(label, int))
                )
            else:
                raise ImagesError(f"images: {shown}: expected a class, got {label!r}")
    return entries, names


def declared_names(features: Any, column: str) -> tuple[str, ...] | None:
    """Return the names that a description of ``datasets`` gives a column, in order."""
    try:
        names = features[column]["names"]
    except (KeyError, TypeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _row_group(file: Any, block: int, column: str) -> Any:
    return file.read_row_group(block, columns=[column]).column(0)


def _column(file: Any, column: str) -> Any:
    return file.read(columns=[column]).column(0)
