from collections.abc import Mapping
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.own_process import kinprint

VERDICTS = {
    "copy.onnx": "derived",
    "fine-tuned.onnx": "derived",
    "pruned-30.onnx": "derived",
    "int8.onnx": "derived",
    "student.onnx": "derived",
    "other-seed.onnx": "independent",
    "other-architecture.onnx": "independent",
    "fine-tuned-api.toml": "derived",
    "other-seed-api.toml": "independent",
}


def verdicts(told: str) -> Mapping[str, str]:
    rows = [line.split() for line in told.splitlines() if line.rstrip().endswith(" ok")]
    return {row[0]: row[1] for row in rows}


def opens_and_audits(folder: Path) -> None:
    """Assert that the bundle that a demo leaves behind opens with its key, and audits."""
    bundle, key = folder / "demo.kinprint", folder / "owner.pub"
    assert run("inspect", bundle, "--trust", key).returncode == 0
    again = run(
        "audit", bundle, "--trust", key, "--onnx", folder / "int8.onnx", "--labels-only",
        "--journal", folder / "again.sqlite",
    )  # fmt: skip
    assert again.returncode == 10


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_verdict_of_the_demo_is_right(tmp_path: Path) -> None:
    done = kinprint("demo", "--out", tmp_path / "demo", COLUMNS="140")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 of 9 verdicts right" in done.stdout
    assert verdicts(done.stdout) == VERDICTS
    opens_and_audits(tmp_path / "demo")


def test_the_demos_files_keep_within_the_size_that_a_checkout_can_carry() -> None:
    folder = Path(__file__).parents[2] / "generator" / "demo"
    assert (folder / "images.zip").stat().st_size <= 8e6
    assert (folder / "weights.safetensors").stat().st_size <= 2e6
