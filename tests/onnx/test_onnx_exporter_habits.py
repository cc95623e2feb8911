"""One model in the forms in which exporters write it answers the same in all of them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from worlds.exporters.habits import (
    Habit,
    as_columns,
    as_sigmoids,
    as_text,
    as_text_and_map,
    batch_inside,
    beside_its_class,
    best_k,
    fixed_inside,
    flattened,
    one_sigmoid,
    squeezed,
    squeezed_class,
    with_more_classes,
)
from worlds.onnx_builders import make_model, nearest_color, save, value

from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx
from adapters.onnx.suspect import OnnxSuspect
from adapters.onnx.suspect_file import ModelTable, SuspectFile, open_suspect_file, to_toml
from adapters.suspect import REFUSED, Capability, OtherTaskError, SuspectConfigError

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
SIDE = 16
COLOURS = np.array(
    [[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40], [200, 40, 200], [40, 200, 200]],
    dtype=np.uint8,
)


def controls() -> ControlImages:
    """Five images of each class; the upper half is darker, so that no axis can be swapped."""
    rng = np.random.default_rng(1)
    images = COLOURS.repeat(5, axis=0)[:, None, None, :].repeat(SIDE, 1).repeat(SIDE, 2)
    noise = rng.integers(-30, 30, images.shape)
    images = np.clip(images.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    return ControlImages(images=images, labels=np.arange(6).repeat(5), class_names=NAMES)


CONTROLS = controls()
UNIT = RecipeOptions(mean=(0.0,), std=(1.0,))


def plain() -> onnx.ModelProto:
    return nearest_color(COLOURS.astype(np.float32) / np.float32(255), side=SIDE)


def opened(folder: Path, habit: Habit, **options: object) -> OnnxSuspect:
    path = save(habit(plain()), folder / "model.onnx")
    return open_onnx(path, recipe=UNIT, controls=CONTROLS, device="cpu", **options)  # type: ignore[arg-type]


def asked(suspect: OnnxSuspect, num: int = 30) -> tuple[list[int], NDArray[np.float64] | None]:
    labels, rows = [], []
    for start in range(0, num, suspect.batch_size):
        answer = suspect.predict(CONTROLS.images[start : min(num, start + suspect.batch_size)])
        labels += answer.labels.tolist()
        if answer.log_probabilities is not None:
            rows.append(answer.log_probabilities)
    return labels, np.concatenate(rows) if rows else None


def expected(folder: Path) -> NDArray[np.float64]:
    with opened(folder, lambda model: model) as suspect:
        labels, rows = asked(suspect)
    assert labels == CONTROLS.labels.tolist()
    assert rows is not None
    return rows


WHOLE = {
    "no batch axis": squeezed,
    "map by name": as_text_and_map(NAMES, 6),
    "map by number": as_text_and_map(None, 6),
    "columns": as_columns(NAMES),
    "columns by number": as_columns([f"i{index}" for index in range(6)]),
    "sigmoids": as_sigmoids,
    "background first": with_more_classes(1, 0),
    "background last": with_more_classes(0, 1),
    "all of them by rank": best_k(6),
    "rows by channel": flattened(SIDE, by_pixel=False),
    "rows by pixel": flattened(SIDE, by_pixel=True),
    "rows with an axis behind": flattened(SIDE, by_pixel=False, extra_axis=True),
    "rows by pixel with an axis behind": flattened(SIDE, by_pixel=True, extra_axis=True),
    "two images inside": batch_inside(2, SIDE),
    "four images inside": batch_inside(4, SIDE),
    "one image inside": batch_inside(1, SIDE),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_form_tells_what_the_logits_tell(tmp_path: Path, name: str) -> None:
    rows = expected(tmp_path)
    with opened(tmp_path, WHOLE[name]) as suspect:
        assert suspect.capability is Capability.PROBABILITIES
        labels, found = asked(suspect)
    assert labels == CONTROLS.labels.tolist()
    assert found is not None
    np.testing.assert_allclose(found, rows, atol=2e-3)


@pytest.mark.parametrize("habit", [squeezed_class, as_text(NAMES)], ids=["number", "text"])
def test_a_class_alone_is_a_suspect_of_labels(tmp_path: Path, habit: Habit) -> None:
    with opened(tmp_path, habit) as suspect:
        assert suspect.capability is Capability.LABELS
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_the_best_of_a_list_are_told_and_nothing_of_the_others(tmp_path: Path) -> None:
    rows = expected(tmp_path)
    with opened(tmp_path, best_k(3)) as suspect:
        assert suspect.capability is Capability.TOP_K
        labels, found = asked(suspect)
    assert labels == CONTROLS.labels.tolist()
    assert found is not None
    assert (np.isnan(found).sum(axis=1) == 3).all()
    told = ~np.isnan(found)
    np.testing.assert_allclose(found[told], rows[told], atol=1e-4)


def test_a_size_that_is_fixed_inside_is_found(tmp_path: Path) -> None:
    with opened(tmp_path, fixed_inside(64, SIDE)) as suspect:
        assert suspect.recipe.size == (64, 64)
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_a_size_that_nobody_uses_has_to_be_written_down(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"write size under \[preprocessing\] in a suspect file"):
        opened(tmp_path, fixed_inside(48, SIDE))


def test_one_value_for_two_classes_is_both(tmp_path: Path) -> None:
    two = ControlImages(
        images=CONTROLS.images[:10], labels=CONTROLS.labels[:10], class_names=NAMES[:2]
    )
    model = nearest_color(COLOURS[:2].astype(np.float32) / np.float32(255), side=SIDE)
    path = save(model, tmp_path / "two.onnx")
    with open_onnx(path, recipe=UNIT, controls=two) as suspect:
        rows = suspect.predict(two.images).log_probabilities
    path = save(one_sigmoid(model), tmp_path / "one.onnx")
    with open_onnx(path, recipe=UNIT, controls=two) as suspect:
        answer = suspect.predict(two.images)
    assert answer.labels.tolist() == two.labels.tolist()
    assert rows is not None
    assert answer.log_probabilities is not None
    np.testing.assert_allclose(answer.log_probabilities, rows, atol=1e-4)


def described(folder: Path, habit: Habit, names: object) -> OnnxSuspect:
    save(habit(plain()), folder / "model.onnx")
    table = SuspectFile(model=ModelTable(file="model.onnx", class_names=names))  # type: ignore[arg-type]
    path = folder / "suspect.toml"
    path.write_text(to_toml(table), encoding="utf-8")
    return open_suspect_file(path, contract=UNIT, controls=CONTROLS, device="cpu")


def test_a_file_with_more_classes_is_read_by_a_class_map(tmp_path: Path) -> None:
    rows = expected(tmp_path)
    with pytest.raises(OtherTaskError, match="class_names"):
        opened(tmp_path, with_more_classes(3, 5))
    names: dict[str, int | str] = {str(index + 3): name for index, name in enumerate(NAMES)}
    with described(tmp_path, with_more_classes(3, 5), names) as suspect:
        labels, found = asked(suspect)
    assert labels == CONTROLS.labels.tolist()
    assert found is not None
    np.testing.assert_allclose(found, rows, atol=1e-4)


MORE = with_more_classes(3, 5)
BY_NUMBER: dict[str, int | str] = {str(index + 3): name for index, name in enumerate(NAMES)}


@pytest.mark.parametrize("form", ["class", "best three"])
def test_numbers_of_classes_are_read_by_a_class_map(tmp_path: Path, form: str) -> None:
    last = squeezed_class if form == "class" else best_k(3)
    with described(tmp_path, lambda model: last(MORE(model)), BY_NUMBER) as suspect:
        labels, found = asked(suspect)
    assert labels == CONTROLS.labels.tolist()
    if form == "best three":
        rows = expected(tmp_path)
        assert found is not None
        told = ~np.isnan(found)
        assert (told.sum(axis=1) == 3).all()
        np.testing.assert_allclose(found[told], rows[told], atol=1e-4)


@pytest.mark.parametrize("habit", [squeezed_class, best_k(3), best_k(6)])
def test_a_class_map_in_another_order_holds_for_every_form(tmp_path: Path, habit: Habit) -> None:
    names: dict[str, int | str] = {str(5 - index): name for index, name in enumerate(NAMES)}
    with described(tmp_path, habit, names) as suspect:
        assert asked(suspect)[0] == (5 - CONTROLS.labels).tolist()


def test_a_number_that_the_class_map_does_not_name_is_a_refusal(tmp_path: Path) -> None:
    names: dict[str, int | str] = {str(index): name for index, name in enumerate(NAMES[:5])}
    names["9"] = "fox"
    with described(tmp_path, squeezed_class, names) as suspect:
        labels = asked(suspect)[0]
    assert labels == [*CONTROLS.labels[:25].tolist(), *[REFUSED] * 5]


def test_a_class_of_more_than_there_are_asks_for_a_class_map(tmp_path: Path) -> None:
    with pytest.raises(OtherTaskError, match=r"below 6, got 3 to 8 from class.*class_names"):
        opened(tmp_path, lambda model: squeezed_class(MORE(model)))


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
def test_a_class_counts_a_background_as_the_scores_beside_it_do(
    tmp_path: Path, before: int, after: int
) -> None:
    habit = with_more_classes(before, after)
    with opened(tmp_path, lambda model: beside_its_class(habit(model))) as suspect:
        assert suspect.trial.output == "more"
        assert suspect.trial.other_outputs == ("class",)
        assert asked(suspect)[0] == CONTROLS.labels.tolist()
    with opened(tmp_path, lambda model: squeezed_class(habit(model))) as suspect:
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_the_best_logits_are_no_probabilities(tmp_path: Path) -> None:
    with opened(tmp_path, best_k(3, operator="Identity")) as suspect:
        assert suspect.capability is Capability.LABELS
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_texts_of_the_files_own_are_read_by_a_class_map(tmp_path: Path) -> None:
    own = [f"class {index}" for index in range(6)]
    with pytest.raises(SuspectConfigError, match=r"class 0.* class_names"):
        opened(tmp_path, as_text(own))
    names: dict[str, int | str] = dict(zip(own, NAMES, strict=True))
    with described(tmp_path, as_text(own), names) as suspect:
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_classes_of_one_name_are_one_where_names_are_answered(tmp_path: Path) -> None:
    names = ("ant", "crane", "cat", "crane", "eel", "fox")
    task = ControlImages(images=CONTROLS.images, labels=CONTROLS.labels, class_names=names)
    path = save(as_text(names)(plain()), tmp_path / "named.onnx")
    with open_onnx(path, recipe=UNIT, controls=task, device="cpu") as suspect:
        assert suspect.identity.details["merged_classes"] == "1=3"
        assert suspect.capability is Capability.LABELS
        merged = [1 if label == 3 else label for label in CONTROLS.labels.tolist()]
        assert asked(suspect)[0] == merged
    path = save(plain(), tmp_path / "scores.onnx")
    with open_onnx(path, recipe=UNIT, controls=task, device="cpu") as suspect:
        # Scores have places, whatever the names are.
        assert "merged_classes" not in suspect.identity.details
        assert asked(suspect)[0] == CONTROLS.labels.tolist()


def test_a_text_that_is_none_of_the_classes_is_a_refusal(tmp_path: Path) -> None:
    with opened(tmp_path, as_text([*NAMES[:5], "something else"])) as suspect:
        labels = asked(suspect)[0]
    assert labels[:25] == CONTROLS.labels[:25].tolist()
    assert labels[25:] == [REFUSED] * 5


def test_an_output_without_a_row_per_image_is_named(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0)]
    model = make_model(nodes, [value("image", ["n", 3, 8, 8])], [value("sum", None)])
    with pytest.raises(SuspectConfigError, match=r"got .*sum"):
        open_onnx(save(model, tmp_path / "model.onnx"))
