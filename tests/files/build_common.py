"""What the builders share: images, their classes, and how a file and its answers are written."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ("red", "green", "blue", "dark")
SIDE = 8
NUM_IMAGES = 80


def images_and_labels() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return noisy images with a gradient, ``[N, 8, 8, 3]``, and their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_IMAGES) % len(CLASSES)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [30, 30, 30]])
    images = colours[labels][:, None, None, :] + rng.normal(0, 20, (NUM_IMAGES, SIDE, SIDE, 3))
    images += np.linspace(-25, 25, SIDE)[None, :, None, None]
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


class Writer:
    """Writes files and a list of them.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: list[dict[str, Any]] = []

    def path(self) -> Path:
        """Return where the next file goes, for exporters that write it themselves."""
        return self._folder / f"{self._folder.name}-{len(self._listed)}.onnx"

    def write(
        self,
        name: str,
        exporter: str,
        model: Any,
        labels: NDArray[Any],
        chosen: NDArray[np.bool_] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Write a file, unless its exporter has, with the answers of its own library.

        Args:
            name: What it is.
            exporter: The package that wrote it.
            model: ONNX model; None if `path` holds it.
            labels: Answers to the images, ``[N]``.
            chosen: Which images it is about; all if None.
            size: Of the images, where it takes another one.
        """
        path = self.path()
        if model is not None:
            path.write_bytes(model.SerializeToString())
        self._listed.append(
            {
                "name": name,
                "file": path.name,
                "exporter": exporter,
                "version": importlib.metadata.version(exporter),
                "labels": np.asarray(labels).reshape(-1).astype(int).tolist(),
                "images": np.flatnonzero(
                    np.ones(NUM_IMAGES, dtype=bool) if chosen is None else chosen
                ).tolist(),
                "num_classes": 2 if chosen is not None else len(CLASSES),
            }
        )

    def finish(self) -> None:
        """Write the list."""
        text = json.dumps(self._listed)
        (self._folder / f"{self._folder.name}.json").write_text(text, encoding="utf-8")
