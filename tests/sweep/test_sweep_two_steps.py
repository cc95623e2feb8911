"""A sweep with a bundle that decides in two steps: verdicts, p-values of both, one step only."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.fingerprint_builder import line_up_bundle
from worlds.in_process import run
from worlds.record_builder import copy_rule, innocent_rule
from worlds.screens.ui_desk import answering_model

from audit.bundle.manifest import Steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sweep")
    line_up_bundle(
        made / "model.kinprint",
        default_score="likelihood-ratio",
        steps=Steps(crafted_alpha=0.05, line_up_alpha=0.05),
    )
    (made / "suspects").mkdir()
    for name, rule in (("copy", copy_rule), ("stranger", innocent_rule)):
        onnx.save(answering_model(rule), made / "suspects" / f"{name}.onnx")
    return made


def swept(folder: Path, out: Path, *options: str) -> dict[str, dict[str, Any]]:
    done = run(
        "sweep", "--bundles", folder / "model.kinprint", "--suspects", folder / "suspects",
        "--trust", GOLDEN_PUBLIC_KEY, "-o", out, "--jobs", "1", "--json", *options,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 10, done.stderr
    return {Path(row["suspect"]).name: row for row in rows if row["type"] != "summary"}


def test_a_copy_is_derived_and_a_stranger_is_asked_on(folder: Path, tmp_path: Path) -> None:
    found = swept(folder, tmp_path / "out")
    assert found["copy.onnx"]["verdict"] == "derived"
    assert found["stranger.onnx"]["verdict"] != "derived"
    # The stranger's deciding score is that of the step that was asked last.
    assert found["copy.onnx"]["score_name"] == "likelihood-ratio"
    assert found["stranger.onnx"]["score_name"] == "line-up"
    # 21 lineages give 1 / 22 at best, which is half of what both steps may.
    assert found["copy.onnx"]["p_value"] == pytest.approx(2 / 22)


def test_a_sweep_may_look_for_copies_only(folder: Path, tmp_path: Path) -> None:
    found = swept(folder, tmp_path / "out", "--look-for", "copies")
    assert found["copy.onnx"]["verdict"] == "derived"
    assert found["stranger.onnx"]["verdict"] == "no copy"
    page = (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")
    assert "no copy" in page
