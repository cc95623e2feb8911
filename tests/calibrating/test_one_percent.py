"""A false-positive rate of 1 %: how many innocents it takes, and what a verdict then says."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.record_builder import NUM_PER_STRATUM, STRATA, audited_bundle, copy_rule
from worlds.screens.ui_desk import answering_model

from audit.api import audit_suspect, open_bundle
from audit.suspects.opening import open_file
from audit.verdict.outcome import Verdict
from audit.verdict.thresholds import conformal_thresholds

NUM_OWN = NUM_PER_STRATUM * len(STRATA)
NUM_NEW = 99 - NUM_OWN
"""What the bundle lacks."""


def innocent_model(number: int) -> onnx.ModelProto:
    """A real file that answers one class further, or two where its number has a bit."""

    def rule(kind: str, index: int, label: int) -> int:
        return label if kind == "control" else (label + 1 + (number >> index & 1)) % 4

    return answering_model(rule)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    audited_bundle(folder / "model.kinprint")
    (folder / "owner.key").write_bytes(OWNER_KEY.to_pem(None))
    (folder / "owner.key").chmod(0o600)
    (folder / "owner.pub").write_bytes(OWNER_KEY.public_key.pem)
    (folder / "innocents").mkdir()
    for number in range(NUM_NEW):
        onnx.save(innocent_model(number), folder / "innocents" / f"{number:02d}.onnx")
    onnx.save(answering_model(copy_rule), folder / "copy.onnx")
    return folder


def calibrate(desk: Path, out: Path, *options: str) -> tuple[int, str, str]:
    done = run(
        "calibrate",
        desk / "model.kinprint",
        *("--innocent", desk / "innocents", "--key", desk / "owner.key", "--out", out),
        *("--alpha", "0.01", "--quiet", *options),
    )
    return done.returncode, done.stdout, done.stderr


def test_ninety_nine_innocents_carry_one_percent(desk: Path, tmp_path: Path) -> None:
    out = tmp_path / "strong.kinprint"
    code, told, complaint = calibrate(desk, out, "--report-share", "0", "--json")
    assert code == 0, complaint
    document = json.loads(told)
    assert (document["alpha"], document["num_innocents"]) == (0.01, 99)
    assert document["tau"]["before"] == 0.5

    bundle = open_bundle(out, trust=[desk / "owner.pub"])
    suspect = open_file(bundle, desk / "copy.onnx")
    try:
        outcome = audit_suspect(bundle, suspect, journal=tmp_path / "journal.sqlite")
    finally:
        suspect.close()

    score = outcome.scores[0]
    assert outcome.verdict is Verdict.DERIVED
    assert (score.p_value, score.smallest_p_value) == (0.01, 0.01)
    assert "Of 99 innocent models of 4 kinds, none scored as high: p = 0.010, the smallest" in (
        outcome.text
    )


def test_one_innocent_less_does_not(desk: Path, tmp_path: Path) -> None:
    """One of the new ones only reports: 98 are left."""
    out = tmp_path / "weak.kinprint"

    code, _, told = calibrate(desk, out, "--report-share", "0.013")

    assert code == 2
    assert (
        "alpha: 0.01 needs 99 innocent lineages, this bundle has 98; the smallest rate it supports "
        "is 0.0101"
    ) in told
    assert not out.exists()


def test_a_model_that_is_there_twice_in_different_files_counts_once(
    desk: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "few", tmp_path / "more.kinprint"
    folder.mkdir()
    for name in ("01.onnx", "02.onnx"):
        (folder / name).write_bytes((desk / "innocents" / name).read_bytes())
    again = onnx.load(desk / "innocents" / "01.onnx")
    again.producer_name = "somebody else"
    onnx.save(again, folder / "other-name.onnx")

    done = run(
        "calibrate",
        desk / "model.kinprint",
        *("--innocent", folder, "--key", desk / "owner.key", "--out", out, "--report-share", "0"),
        *("--json", "--quiet"),
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_innocents"] == NUM_OWN + 2
    assert "other-name.onnx answers exactly like '01': the same model in another file" in (
        done.stderr
    )


def test_of_98_innocents_none_leaves_room_for_a_verdict_at_one_percent() -> None:
    derived = np.arange(200.0, 300.0)

    with_98, with_99 = (
        conformal_thresholds(
            np.arange(float(num)), derived, np.array(["pruned"] * 100), alpha=0.01, beta=0.05
        )
        for num in (98, 99)
    )

    assert np.isinf(with_98.derived_above)
    assert np.isfinite(with_99.derived_above)
