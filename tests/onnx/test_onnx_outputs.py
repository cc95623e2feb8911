"""A file with several outputs is read by one of them only where all say the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from worlds.onnx_builders import class_beside, merged_heads, save, with_two_heads
from worlds.record_builder import audited_contents, copy_rule, innocent_rule
from worlds.screens.ui_desk import answering_model

from adapters.onnx.output_choice import OutputsDisagreeError
from adapters.suspect import Capability
from audit.suspects.opening import open_file

BUNDLE = audited_contents()
NUM_CONTROLS = len(BUNDLE.arrays.controls)
"""Queries are not compared: whoever asks has only the control images for nothing."""


def one_slip(kind: str, index: int, label: int) -> int:
    """Be wrong about the first control image, and an innocent otherwise."""
    if kind == "control" and index == 0:
        return (label + 1) % 4
    return innocent_rule(kind, index, label)


def heads() -> onnx.ModelProto:
    return merged_heads(answering_model(one_slip), answering_model(copy_rule))


def test_heads_that_differ_on_one_control_image_must_be_chosen(tmp_path: Path) -> None:
    path = save(heads(), tmp_path / "two.onnx")
    all_but_one = f"{(NUM_CONTROLS - 1) / NUM_CONTROLS:.0%}"
    with pytest.raises(
        OutputsDisagreeError,
        match=rf"disagree about up to 1 of {NUM_CONTROLS} control images; choose one with "
        rf"--output NAME: early_probabilities \({all_but_one} right\), "
        r"final_probabilities \(100% right\)",
    ) as refusal:
        open_file(BUNDLE, path, device="cpu")
    assert refusal.value.names == ("early_probabilities", "final_probabilities")


def test_the_chosen_head_answers_and_the_others_are_named(tmp_path: Path) -> None:
    path = save(heads(), tmp_path / "two.onnx")
    with open_file(BUNDLE, path, device="cpu", output="final_probabilities") as suspect:  # type: ignore[attr-defined]
        labels = suspect.predict(BUNDLE.arrays.queries[:4]).labels
        assert suspect.identity.details["output"] == "final_probabilities"
        assert suspect.identity.details["other_outputs"] == "early_probabilities"
    np.testing.assert_array_equal(labels, BUNDLE.arrays.source_query_labels[:4])


@pytest.mark.parametrize("labels_only", [False, True])
def test_a_class_is_compared_with_the_scores_beside_it(tmp_path: Path, labels_only: bool) -> None:
    model = class_beside(heads(), of="final_probabilities", scores="early_probabilities")
    path = save(model, tmp_path / "svc.onnx")
    with pytest.raises(OutputsDisagreeError, match=r"label \(100% right\), scores"):
        open_file(BUNDLE, path, device="cpu", labels_only=labels_only)
    with open_file(BUNDLE, path, device="cpu", output="label") as suspect:  # type: ignore[attr-defined]
        assert suspect.capability is Capability.LABELS


def test_a_class_that_fits_its_scores_changes_nothing(tmp_path: Path) -> None:
    model = class_beside(heads(), of="final_probabilities", scores="final_probabilities")
    with open_file(BUNDLE, save(model, tmp_path / "fit.onnx"), device="cpu") as suspect:  # type: ignore[attr-defined]
        assert suspect.trial.output == "scores"
        assert suspect.trial.other_outputs == ("label",)


def test_outputs_that_disagree_survive_the_way_between_processes() -> None:
    import pickle

    error = OutputsDisagreeError("output: two", ("a", "b"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.names) == ("output: two", ("a", "b"))


def test_outputs_are_compared_on_made_up_images_where_there_are_no_others(tmp_path: Path) -> None:
    from adapters.onnx.opening import open_onnx

    path = save(with_two_heads(agree=False), tmp_path / "model.onnx")
    with pytest.raises(OutputsDisagreeError, match="2 of 2 made-up images"):
        open_onnx(path)
