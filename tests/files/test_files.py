"""Files of real exporters say what their own libraries say; ``make test-files`` builds them.

Nothing is fetched but the exporters themselves, once, into an environment that is kept.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds.kept_environment import kept_environment

from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx
from files.build_common import CLASSES, images_and_labels

pytestmark = pytest.mark.files

HERE = Path(__file__).parent
SUSPECTS_PAGE = Path(__file__).parents[2] / "docs" / "suspects.md"
UNIT = RecipeOptions(mean=(0.0,), std=(1.0,))
MIN_SAME = {"onnxruntime-gpu": 0.9}
"""Share of answers that must be those of the exporter's own library; int8 rounds some away."""


def built(folder: Path, name: str) -> list[dict[str, Any]]:
    """Build the files of one builder, and return the list of them."""
    target = folder / name
    target.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(python: str | Path) -> None:
        done = subprocess.run(
            [python, HERE / f"build_{name}.py", target],
            capture_output=True, text=True, check=False, env=environment, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]

    if name == "torch":
        run(sys.executable)
    else:
        requirements = HERE / "requirements" / f"{name}.txt"
        arguments: list[str | Path] = ["--no-deps", "--requirement", requirements]
        with kept_environment(
            "files", name, made_from=requirements.read_bytes(), arguments=arguments
        ) as python:
            run(python)
    listed: list[dict[str, Any]] = json.loads((target / f"{name}.json").read_text("utf-8"))
    return [{**one, "path": target / one["file"]} for one in listed]


@pytest.fixture(scope="session")
def all_files(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("files")
    return [one for name in ("sklearn", "keras", "torch") for one in built(folder, name)]


def reading_of(one: dict[str, Any]) -> str:
    """Read a file as an auditor would; returns what is wrong, or nothing."""
    images, _ = images_and_labels()
    own = np.array(one["labels"], dtype=np.int64)
    controls = ControlImages(
        images=images[one["images"]], labels=own, class_names=CLASSES[: one["num_classes"]]
    )
    try:
        with open_onnx(one["path"], recipe=UNIT, controls=controls, device="cpu") as suspect:
            labels: list[int] = []
            for start in range(0, len(own), suspect.batch_size):
                part = controls.images[start : start + suspect.batch_size]
                labels += suspect.predict(part).labels.tolist()
    except Exception as error:
        return f"{one['name']}: {error}"
    same = float((np.array(labels) == own).mean())
    expected = MIN_SAME.get(one["exporter"], 1.0)
    return "" if same >= expected else f"{one['name']}: {same:.0%} of its answers are its own"


def test_every_file_is_read_as_its_own_library_reads_it(all_files: list[dict[str, Any]]) -> None:
    assert len(all_files) >= 60
    assert [told for one in all_files if (told := reading_of(one))] == []


def test_the_table_of_exporters_is_what_was_read(all_files: list[dict[str, Any]]) -> None:
    counts = Counter((one["exporter"], one["version"].partition("+")[0]) for one in all_files)
    page = SUSPECTS_PAGE.read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` ([\d.]+) \|.*\| (\d+) \|$", page, re.MULTILINE)
    assert {(name, version): int(num) for name, version, num in rows} == dict(counts)
