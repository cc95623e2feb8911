"""`kinprint probe` describes a file and finds how it wants its images."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from worlds.bundle_builder import GOLDEN, GOLDEN_PUBLIC_KEY, small_arrays
from worlds.exporters.habits import (
    Habit,
    as_columns,
    as_text,
    batch_inside,
    best_k,
    flattened,
    one_sigmoid,
)
from worlds.onnx_builders import brightest_channel, nearest_color, save, with_two_heads

from adapters.onnx.suspect_file import open_suspect_file
from adapters.suspect import SuspectConfigError
from audit.commands.probe import command


def probe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that gets the four control images right if it sees -1 to 1, BGR."""
    controls = small_arrays().controls.astype(np.float64).mean(axis=(1, 2))[:, ::-1]
    targets = ((controls / 255 - 0.5) / 0.5).astype(np.float32)
    built = nearest_color(targets)
    onnx.helper.set_model_props(built, {"names": '["cat", "dog", "frog", "ship"]'})
    return save(built, tmp_path / "model.onnx")


def test_a_file_is_described_without_a_bundle(model: Path) -> None:
    result = probe("--onnx", model)
    assert result.exit_code == 0, result.output
    assert "image: NCHW float32, 8 by 8, 3 channels, any batch" in result.stdout
    assert "answer: logits, 4 classes" in result.stdout
    assert "kinprint-tests; opset 17, IR 8" in result.stdout
    assert "cat, dog, frog, ship" in result.stdout


def test_every_output_that_may_hold_the_class_is_named(tmp_path: Path) -> None:
    result = probe("--onnx", save(with_two_heads(agree=True), tmp_path / "model.onnx"))
    assert result.exit_code == 0, result.output
    (answers,) = (line for line in result.stdout.splitlines() if line.startswith("answers"))
    assert all(output.name in answers for output in with_two_heads(agree=True).graph.output)


def test_scores_that_may_be_those_of_the_best_classes_are_not_called_all(tmp_path: Path) -> None:
    model = best_k(2)(brightest_channel())
    result = probe("--onnx", save(model, tmp_path / "model.onnx"))
    assert result.exit_code == 0, result.output
    assert "perhaps of the best 2 classes only; --bundle tells" in result.stdout


@pytest.mark.parametrize("habit", [as_text(list("abc")), as_columns(list("abc")), one_sigmoid])
def test_what_only_a_bundle_makes_readable_asks_for_one(tmp_path: Path, habit: Habit) -> None:
    model = brightest_channel()
    if habit is one_sigmoid:
        model = nearest_color(np.eye(2, 3, dtype=np.float32))
    result = probe("--onnx", save(habit(model), tmp_path / "model.onnx"))
    assert isinstance(result.exception, SuspectConfigError)
    assert "--bundle" in str(result.exception)


def test_the_json_document_ranks_every_candidate(model: Path) -> None:
    result = probe("--onnx", model, "--bundle", GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert document["file"]["operators"] == {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert document["file"]["num_parameters"] == 4 * 3 + 4
    right = {row["name"]: row["num_correct"] for row in document["preprocessings"]}
    assert right["-1 to 1, BGR"] == 4
    # Four images are too few to tell any two candidates apart: 2 / 2^4 is 12.5 %.
    assert {row["rank"] for row in document["preprocessings"] if row["is_tied"]} == {1}
    assert all(row["is_tied"] for row in document["preprocessings"] if row["num_correct"] > 0)


def test_the_suspect_file_opens_the_model_as_it_was_found(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "suspect.toml"
    arguments = ("--onnx", model, "--bundle", GOLDEN, "--trust", GOLDEN_PUBLIC_KEY, "--out", out)
    result = probe(*arguments)
    assert result.exit_code == 0, result.output
    assert f"kinprint audit {GOLDEN} --suspect {out}" in result.stderr
    assert "# The images cannot tell it from " in out.read_text()
    with open_suspect_file(out, num_classes=4) as suspect:
        answer = suspect.predict(small_arrays().controls)
    assert answer.labels.tolist() == small_arrays().control_labels.tolist()
    again = probe(*arguments)
    assert again.exit_code == 2
    assert "--force replaces it" in again.output


def test_a_suspect_file_needs_images(model: Path, tmp_path: Path) -> None:
    result = probe("--onnx", model, "--out", tmp_path / "suspect.toml")
    assert result.exit_code == 2
    assert "--out needs --bundle" in result.output


def test_a_missing_folder_is_named_before_anything_is_asked(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "suspect.toml"
    result = probe("--onnx", model, "--bundle", GOLDEN, "--out", out)
    assert result.exit_code == 2
    assert "--out: there is no folder" in result.output


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    path = save(brightest_channel(), tmp_path / "model.onnx")
    result = probe("--onnx", path, "--bundle", GOLDEN, "--trust", GOLDEN_PUBLIC_KEY)
    assert isinstance(result.exception, SuspectConfigError)
    assert "num_classes: expected 4" in str(result.exception)


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    built = brightest_channel()
    built.producer_name = "\x1b[2Jproducer"
    onnx.helper.set_model_props(built, {"labels": "\x1b]0;title\x07,dog"})
    result = probe("--onnx", save(built, tmp_path / "model.onnx"))
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    assert "producer" in result.stdout


def test_what_is_fixed_inside_and_found_by_trying_is_said(tmp_path: Path) -> None:
    side = small_arrays().controls.shape[1]
    controls = small_arrays().controls.astype(np.float32).mean(axis=(1, 2)) / np.float32(255)
    path = save(batch_inside(4, side)(nearest_color(controls, side=side)), tmp_path / "four.onnx")
    bundle = ("--bundle", GOLDEN, "--trust", GOLDEN_PUBLIC_KEY)
    result = probe("--onnx", path, *bundle)
    assert result.exit_code == 0, result.output
    assert "declares any batch, works with 4 images a run" in result.stdout
    path = save(flattened(side, by_pixel=True)(nearest_color(controls, side=side)), path)
    result = probe("--onnx", path, *bundle)
    assert result.exit_code == 0, result.output
    best = next(line for line in result.stdout.splitlines() if line.lstrip().startswith("1"))
    assert "rows by pixel" in best or "(tie)" in best
