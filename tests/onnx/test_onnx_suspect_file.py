"""Suspect files say how to ask a model, and are checked against it."""

from pathlib import Path

import pytest
from worlds.onnx_builders import brightest_channel, colors, save

from adapters.onnx.input import RecipeOptions
from adapters.onnx.suspect_file import (
    ModelTable,
    PreprocessingTable,
    SuspectFile,
    merged_options,
    open_suspect_file,
    read_suspect_file,
    to_toml,
)
from adapters.suspect import SuspectConfigError

MINIMAL = """
format = "kinprint-suspect"
format_version = 1
[model]
file = "model.onnx"
"""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    described = SuspectFile(
        model=ModelTable(file='odd "name".onnx', sha256="0" * 64, output="scores"),
        preprocessing=PreprocessingTable(
            mean=(0.485, 0.456, 0.406), std=(0.1, 0.2, 0.3), color_order="BGR", size=(32, 32)
        ),
    )
    path = tmp_path / "suspect.toml"
    path.write_text(to_toml(described, ("A line of explanation.",)))
    assert read_suspect_file(path) == described
    assert path.read_text().startswith("# A line of explanation.\n")


def test_the_model_lies_beside_its_suspect_file(tmp_path: Path) -> None:
    save(brightest_channel(), tmp_path / "model.onnx")
    path = tmp_path / "suspect.toml"
    path.write_text(MINIMAL + '[preprocessing]\ncolor_order = "BGR"\n')
    with open_suspect_file(path, num_classes=3) as suspect:
        assert suspect.predict(colors((255, 0, 0))).labels.tolist() == [2]


def test_another_onnx_file_under_the_name_is_refused(tmp_path: Path) -> None:
    save(brightest_channel(), tmp_path / "model.onnx")
    path = tmp_path / "suspect.toml"
    path.write_text(MINIMAL + f'sha256 = "{"0" * 64}"\n')
    with pytest.raises(
        SuspectConfigError, match=r"model.sha256: expected 0+, got .* probe it anew"
    ):
        open_suspect_file(path)


def test_the_contract_fills_in_what_the_file_leaves_out() -> None:
    contract = RecipeOptions(mean=(0.5,), std=(0.25,))
    assert merged_options(PreprocessingTable(), contract) == contract
    told = merged_options(PreprocessingTable(color_order="BGR"), contract)
    assert told == RecipeOptions(mean=(0.5,), std=(0.25,), color_order="BGR")
    # A scale of its own makes the contract's mean meaningless.
    assert merged_options(PreprocessingTable(scale=1.0), contract) == RecipeOptions(scale=1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[preprocessing]\nmeans = [0.5]\n", "preprocessing.means: Extra inputs"),
        (MINIMAL + "[preprocessing]\nmean = 'half'\n", "preprocessing.mean: Input should be"),
        (MINIMAL.replace("= 1", "= 2"), "format_version: Input should be 1"),
        ("format = kinprint", "expected TOML, got"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "suspect.toml"
    path.write_text(text)
    with pytest.raises(SuspectConfigError, match=message):
        read_suspect_file(path)


def test_a_missing_suspect_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuspectConfigError, match=r"suspect file: cannot read .*missing\.toml"):
        read_suspect_file(tmp_path / "missing.toml")
