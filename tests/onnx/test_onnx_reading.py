"""ONNX files of many origins answer as their arithmetic says."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from worlds.onnx_builders import (
    Shape,
    batch_normalised,
    bright_or_dark,
    brightest_channel,
    colors,
    make_model,
    noisy,
    save,
    value,
    with_two_heads,
)

from adapters.onnx.control_images import ControlImages
from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx
from adapters.onnx.suspect import OutputKindChoice
from adapters.suspect import Capability, OtherTaskError, SuspectConfigError, SuspectError

ORANGE, SEA = (255, 102, 0), (0, 51, 204)
"""In units of 255: (1, 0.4, 0) and (0, 0.2, 0.8)."""

ORANGE_LOG_SUM = math.log(math.exp(1) + math.exp(0.4) + math.exp(0))
"""Normaliser of the softmax of (1, 0.4, 0)."""


@pytest.mark.parametrize("tail", ["logits", "probabilities", "log_probabilities"])
def test_each_kind_of_output_gives_the_same_log_probabilities(tmp_path: Path, tail: str) -> None:
    path = save(brightest_channel(tail=tail), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        answer = suspect.predict(colors(ORANGE, SEA))
        assert suspect.identity.details["output_kind"] == tail
    assert answer.labels.tolist() == [0, 2]
    assert answer.log_probabilities is not None
    expected = np.array([1, 0.4, 0]) - ORANGE_LOG_SUM
    np.testing.assert_allclose(answer.log_probabilities[0], expected, atol=1e-6)


def test_the_logarithm_of_a_softmax_is_seen_in_the_graph(tmp_path: Path) -> None:
    path = save(brightest_channel(tail="log of probabilities"), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        assert suspect.identity.details["output_kind"] == "log_probabilities"


@pytest.mark.parametrize(
    ("shape", "channels_last", "layout"),
    [
        (("n", 3, 8, 8), False, "NCHW"),
        ((1, 3, 8, 8), False, "NCHW"),
        ((4, 3, 8, 8), False, "NCHW"),
        (("n", 3, "h", "w"), False, "NCHW"),
        ((None, None, None, None), False, "NCHW"),
        (None, False, "NCHW"),
        (("n", 8, 8, 3), True, "NHWC"),
        ((1, None, None, 3), True, "NHWC"),
    ],
)
def test_declared_shapes_of_any_kind_are_understood(
    tmp_path: Path, shape: Shape | None, channels_last: bool, layout: str
) -> None:
    model = brightest_channel(shape=shape, channels_last=channels_last)
    with open_onnx(save(model, tmp_path / "model.onnx")) as suspect:
        assert suspect.recipe.layout == layout
        # Five images do not fill two runs of four.
        answer = suspect.predict(colors(ORANGE, SEA, ORANGE, SEA, SEA))
    assert answer.labels.tolist() == [0, 2, 0, 2, 2]


@pytest.mark.parametrize(
    ("dtype", "mean", "std", "expected"),
    [
        (TensorProto.FLOAT, (0.5,), (0.25,), [2, -0.4, -2]),
        (TensorProto.FLOAT16, (0.5,), (0.25,), [2, -0.4, -2]),
        (TensorProto.DOUBLE, (0.5,), (0.25,), [2, -0.4, -2]),
        # Integer inputs take pixels (and int8 the pixel minus 128), whatever the bundle says.
        (TensorProto.UINT8, (0.5,), (0.25,), [255, 102, 0]),
        (TensorProto.INT8, (0.5,), (0.25,), [127, -26, -128]),
    ],
)
def test_inputs_of_every_type_get_the_values_they_expect(
    tmp_path: Path, dtype: int, mean: tuple[float], std: tuple[float], expected: list[float]
) -> None:
    path = save(brightest_channel(dtype=dtype), tmp_path / "model.onnx")
    with open_onnx(path, recipe=RecipeOptions(mean=mean, std=std)) as suspect:
        answer = suspect.predict(colors(ORANGE))
    assert answer.log_probabilities is not None
    relative = answer.log_probabilities[0] - answer.log_probabilities[0, 0]
    np.testing.assert_allclose(relative, np.array(expected) - expected[0], atol=2e-3)


@pytest.mark.parametrize(
    ("opset", "ir_version", "weights_as_inputs"), [(7, 3, True), (9, 4, False), (21, 10, False)]
)
def test_old_and_new_files_are_read(
    tmp_path: Path, opset: int, ir_version: int, weights_as_inputs: bool
) -> None:
    model = brightest_channel(
        opset=opset, ir_version=ir_version, weights_as_inputs=weights_as_inputs
    )
    with open_onnx(save(model, tmp_path / "model.onnx")) as suspect:
        assert suspect.predict(colors(SEA)).labels.tolist() == [2]
        assert suspect.identity.details["opset"] == str(opset)


def test_scores_with_empty_spatial_axes_are_scores(tmp_path: Path) -> None:
    path = save(brightest_channel(keep_spatial_axes=True), tmp_path / "model.onnx")
    with open_onnx(path, num_classes=3) as suspect:
        assert suspect.predict(colors(ORANGE, SEA)).labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("shape", "to_rows", "layout"),
    [
        (("n", 8, 8), (0, -1), "NHW"),
        (("n", 64), (0, -1), "N(CHW)"),
        ((8, 8), (1, 64), "HW"),
        ((1, 8, 8), (1, 64), "NHW"),
        (("n", 1, 8, 8), (0, 64), "NCHW"),
    ],
)
def test_grey_models_of_every_rank_take_grey_and_colour_images(
    tmp_path: Path, shape: Shape, to_rows: tuple[int, ...], layout: str
) -> None:
    path = save(bright_or_dark(shape=shape, to_rows=to_rows), tmp_path / "model.onnx")
    with open_onnx(path, recipe=RecipeOptions(mean=(0.5,), std=(0.5,))) as suspect:
        assert suspect.recipe.layout == layout
        grey = np.array([255, 0], np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
        assert suspect.predict(grey).labels.tolist() == [0, 1]
        colour = colors((255, 255, 255), (10, 10, 10))
        assert suspect.predict(colour).labels.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [("n", 8, 8), ("n", 1, 8, 8)])
def test_a_normalisation_of_colours_is_made_one_of_grey(tmp_path: Path, shape: Shape) -> None:
    path = save(bright_or_dark(shape=shape, to_rows=(0, 64)), tmp_path / "model.onnx")
    colours = RecipeOptions(mean=(0.2, 0.4, 0.9), std=(0.2, 0.4, 0.9))
    with open_onnx(path, recipe=colours) as suspect:
        # 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.9 = 0.3972, which is 101.3 of 255
        assert suspect.recipe.mean == suspect.recipe.std == pytest.approx((0.3972,), abs=1e-4)
        grey = np.array([100, 103], np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
        assert suspect.predict(grey).labels.tolist() == [1, 0]


def test_logits_are_taken_where_probabilities_say_the_same(tmp_path: Path) -> None:
    path = save(with_two_heads(agree=True), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        assert suspect.trial.output == "logits"
    with open_onnx(path, output="probabilities") as suspect:
        assert suspect.trial.kind == "probabilities"


def test_outputs_that_disagree_must_be_chosen_by_name(tmp_path: Path) -> None:
    path = save(with_two_heads(agree=False), tmp_path / "model.onnx")
    with pytest.raises(
        SuspectConfigError, match=r"output: 2 hold the class .*: probabilities, logits"
    ):
        open_onnx(path)
    with open_onnx(path, output="logits") as suspect:
        assert suspect.predict(colors(ORANGE)).labels.tolist() == [0]
    with pytest.raises(SuspectConfigError, match=r"output: expected one of .*; got 'scores'"):
        open_onnx(path, output="scores")


def test_a_model_that_answers_classes_only_is_a_label_only_suspect(tmp_path: Path) -> None:
    path = save(brightest_channel(tail="labels"), tmp_path / "model.onnx")
    with open_onnx(path, num_classes=3) as suspect:
        assert suspect.capability == Capability.LABELS
        answer = suspect.predict(colors(ORANGE, SEA))
    assert answer.labels.tolist() == [0, 2]
    assert answer.log_probabilities is None


def test_a_class_beyond_the_bundles_is_an_error(tmp_path: Path) -> None:
    path = save(brightest_channel(tail="labels"), tmp_path / "model.onnx")
    with pytest.raises(OtherTaskError, match="expected classes below 2, got 0 to 2 from answer"):
        open_onnx(path, num_classes=2)
    seen = ControlImages(
        images=colors(ORANGE, ORANGE), labels=np.array([0, 0]), class_names=("red", "green")
    )
    with (
        open_onnx(path, controls=seen) as suspect,
        pytest.raises(SuspectError, match="expected classes below 2, got 0 to 2"),
    ):
        suspect.predict(colors(ORANGE, SEA))


def test_labels_only_keeps_the_probabilities_back(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with open_onnx(path, labels_only=True) as suspect:
        assert suspect.capability == Capability.LABELS
        assert suspect.predict(colors(ORANGE)).log_probabilities is None


def test_the_output_kind_can_be_told(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    kind: OutputKindChoice = "probabilities"
    with open_onnx(path, output_kind=kind) as suspect:
        answer = suspect.predict(colors((204, 51, 51)))
    assert answer.log_probabilities is not None
    # 0.8, 0.2, 0.2 as shares of their sum 1.2
    np.testing.assert_allclose(
        np.exp(answer.log_probabilities[0]), [2 / 3, 1 / 6, 1 / 6], atol=1e-6
    )


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        assert suspect.identity.kind == "onnx"
        assert suspect.identity.name == "model.onnx"
        assert suspect.identity.digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert suspect.identity.details["provider"] == "CPUExecutionProvider"


def test_a_file_replaced_after_opening_changes_nothing(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with open_onnx(path) as suspect:
        path.write_bytes(b"something else")
        assert suspect.predict(colors(SEA)).labels.tolist() == [2]
        assert suspect.identity.digest == digest


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with pytest.raises(SuspectConfigError, match=r"num_classes: expected 10, got outputs answer"):
        open_onnx(path, num_classes=10)


def test_a_table_model_has_no_input_for_images(tmp_path: Path) -> None:
    model = brightest_channel(shape=("n", 3, 8, 8))
    model.graph.input.append(value("age", ["n", 1]))
    with pytest.raises(SuspectConfigError, match="input: expected exactly one that takes images"):
        open_onnx(save(model, tmp_path / "model.onnx"))


def test_a_model_without_scores_is_refused(tmp_path: Path) -> None:
    import onnx.helper

    model = make_model(
        [onnx.helper.make_node("Relu", ["image"], ["picture"])],
        [value("image", ["n", 3, 8, 8])],
        [value("picture", ["n", 3, 8, 8])],
    )
    with pytest.raises(SuspectConfigError, match=r"output: expected one score per class \[N, K\]"):
        open_onnx(save(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("operator", ["RandomNormalLike", "Dropout"])
def test_a_model_that_answers_differently_each_time_is_refused_unless_allowed(
    tmp_path: Path, operator: str
) -> None:
    path = save(noisy(operator=operator), tmp_path / "model.onnx")
    with pytest.raises(SuspectError, match=f"got others the second time .*contains {operator}"):
        open_onnx(path)
    with open_onnx(path, allow_random=True) as suspect:
        assert suspect.identity.details["repeatable"] == "no"


def test_answers_do_not_depend_on_what_else_is_in_the_batch(tmp_path: Path) -> None:
    path = save(batch_normalised(), tmp_path / "model.onnx")
    with open_onnx(path) as suspect:
        together = suspect.predict(colors(ORANGE, SEA)).log_probabilities
        alone = suspect.predict(colors(ORANGE)).log_probabilities
        assert suspect.identity.details["images_per_run"] == "1"
    assert together is not None
    assert alone is not None
    np.testing.assert_array_equal(together[0], alone[0])


def test_a_batch_hidden_in_a_reshape_is_found_by_trying(tmp_path: Path) -> None:
    # The shape says any batch, the graph flattens everything into one row.
    path = save(bright_or_dark(shape=("n", 1, 8, 8), to_rows=(1, -1)), tmp_path / "model.onnx")
    with open_onnx(path, recipe=RecipeOptions(mean=(0.5,))) as suspect:
        images = np.array([255, 0], np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
        assert suspect.predict(images).labels.tolist() == [0, 1]


def test_infinite_answers_are_an_error(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    # 1 / 1e-45 overflows float32.
    with pytest.raises(SuspectError, match="answers: expected finite scores"):
        open_onnx(path, recipe=RecipeOptions(std=(1e-45,)))


def test_cuda_without_a_device_says_what_is_missing(tmp_path: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has an NVIDIA device")
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with pytest.raises(SuspectConfigError, match=r"device: expected cuda, but .*--device cpu"):
        open_onnx(path, device="cuda")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (RecipeOptions(size=(9, 9)), r"preprocessing.size: expected \(8, 8\)"),
        (RecipeOptions(channels=1), "preprocessing.channels: expected 3"),
        (RecipeOptions(std=(0.0,)), "preprocessing.std: expected positive"),
    ],
)
def test_options_that_contradict_the_file_are_named(
    tmp_path: Path, recipe: RecipeOptions, message: str
) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    with pytest.raises(SuspectConfigError, match=message):
        open_onnx(path, recipe=recipe)
