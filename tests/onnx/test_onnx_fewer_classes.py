"""A file that lacks some of the bundle's classes, or has one that it never answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from worlds.onnx_builders import nearest_color, save

from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx
from adapters.onnx.suspect import OnnxSuspect
from adapters.onnx.suspect_file import ModelTable, SuspectFile, open_suspect_file, to_toml
from adapters.suspect import Capability, OtherTaskError, SuspectConfigError

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
SIDE = 8
COLOURS = np.array(
    [[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40], [200, 40, 200], [40, 200, 200]],
    dtype=np.uint8,
)
IMAGES = COLOURS.repeat(8, axis=0)[:, None, None, :].repeat(SIDE, 1).repeat(SIDE, 2)
CONTROLS = ControlImages(images=IMAGES, labels=np.arange(6).repeat(8), class_names=NAMES)
UNIT = RecipeOptions(mean=(0.0,), std=(1.0,))


def network(classes: Sequence[int]) -> onnx.ModelProto:
    """A network that knows some of the six colours."""
    return nearest_color(COLOURS[list(classes)].astype(np.float32) / np.float32(255), side=SIDE)


def opened(folder: Path, model: onnx.ModelProto) -> OnnxSuspect:
    path = save(model, folder / "model.onnx")
    return open_onnx(path, recipe=UNIT, controls=CONTROLS, device="cpu")


def described(folder: Path, model: onnx.ModelProto, **fields: object) -> OnnxSuspect:
    save(model, folder / "model.onnx")
    table = SuspectFile(model=ModelTable(file="model.onnx", **fields))  # type: ignore[arg-type]
    path = folder / "suspect.toml"
    path.write_text(to_toml(table), encoding="utf-8")
    return open_suspect_file(path, contract=UNIT, controls=CONTROLS, device="cpu")


def labels_of(suspect: OnnxSuspect) -> list[int]:
    answer = suspect.predict(IMAGES)
    assert answer.log_probabilities is None
    return [int(label) for label in answer.labels]


def is_right(labels: list[int], absent: Sequence[int]) -> bool:
    there = ~np.isin(CONTROLS.labels, absent)
    found = np.array(labels)
    return bool((found[there] == CONTROLS.labels[there]).all() and not np.isin(found, absent).any())


@pytest.mark.parametrize("absent", [(0,), (2,), (5,), (1, 4)])
def test_the_control_images_show_which_classes_a_file_lacks(
    tmp_path: Path, absent: tuple[int, ...]
) -> None:
    with opened(tmp_path, network([i for i in range(6) if i not in absent])) as suspect:
        assert suspect.identity.details["absent_classes"] == ",".join(map(str, absent))
        assert suspect.capability is Capability.LABELS
        assert is_right(labels_of(suspect), absent)


def test_classes_that_the_images_do_not_tell_apart_have_to_be_named(tmp_path: Path) -> None:
    # What is called class 2 or 3 lies between them, and gets the images of both.
    between = COLOURS.astype(np.float32)[[0, 1, 2, 4, 5]] / np.float32(255)
    between[2] = COLOURS[2:4].mean(axis=0) / 255
    model = nearest_color(between, side=SIDE)
    with pytest.raises(SuspectConfigError, match="do not show which: name them in absent"):
        opened(tmp_path, model)
    with described(tmp_path, model, absent_classes=("dog",)) as suspect:
        assert suspect.identity.details["absent_classes"] == "3"


def test_a_list_of_names_leaves_out_the_absent_class(tmp_path: Path) -> None:
    own = tuple(f"own {name}" for name in NAMES if name != "bee")
    model = network([0, 2, 3, 4, 5])
    with described(tmp_path, model, class_names=own, absent_classes=("bee",)) as suspect:
        assert is_right(labels_of(suspect), (1,))
    with pytest.raises(OtherTaskError, match="got 5; name those that the suspect does not have in"):
        described(tmp_path, model, class_names=own)
    with pytest.raises(OtherTaskError, match="expected at most half of the bundle's 6 classes"):
        described(tmp_path, model, absent_classes=(0, 1, 2, 3))
    with pytest.raises(SuspectConfigError, match="expected one of the bundle's ant, bee"):
        described(tmp_path, model, absent_classes=("wolf",))


def test_an_output_for_a_class_that_is_declared_absent_is_never_answered(tmp_path: Path) -> None:
    with described(tmp_path, network(range(6)), absent_classes=(4,)) as suspect:
        assert is_right(labels_of(suspect), (4,))


@pytest.mark.parametrize("place", [0, 6])
def test_a_dummy_output_that_is_never_the_largest_is_found(tmp_path: Path, place: int) -> None:
    targets = COLOURS.astype(np.float32) / np.float32(255)
    # So far away from every colour that its score is always the lowest.
    model = nearest_color(np.insert(targets, place, 9.0, axis=0), side=SIDE)
    with opened(tmp_path, model) as suspect:
        assert "absent_classes" not in suspect.identity.details
        assert suspect.predict(IMAGES).labels.tolist() == CONTROLS.labels.tolist()


def test_a_file_of_far_fewer_classes_is_about_another_task(tmp_path: Path) -> None:
    with pytest.raises(OtherTaskError, match="absent_classes"):
        opened(tmp_path, network([0, 1]))
