from pathlib import Path

from worlds.tiny_world import kinprint


def test_every_verdict_of_the_demo_is_right(tmp_path: Path) -> None:
    done = kinprint("demo", "--out", tmp_path / "demo", OMP_NUM_THREADS="2", COLUMNS="140")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 verdicts right" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith(" ok")]
    verdicts = {row[0]: row[1] for row in rows}
    assert verdicts == {
        "copy.onnx": "derived",
        "fine-tuned.onnx": "derived",
        "pruned-30.onnx": "derived",
        "int8.onnx": "derived",
        "other-seed.onnx": "independent",
        "other-architecture.onnx": "independent",
        "fine-tuned-api.toml": "derived",
        "other-seed-api.toml": "independent",
    }
    # The bundle that it leaves behind opens with the key that it leaves behind, and audits.
    bundle, key = tmp_path / "demo" / "demo.kinprint", tmp_path / "demo" / "owner.pub"
    assert kinprint("inspect", bundle, "--trust", key).returncode == 0
    again = kinprint(
        "audit", bundle, "--trust", key, "--onnx", tmp_path / "demo" / "int8.onnx", "--labels-only",
        "--journal", tmp_path / "journal.sqlite",
    )  # fmt: skip
    assert again.returncode == 10


def test_the_demos_files_keep_within_the_size_that_a_checkout_can_carry() -> None:
    folder = Path(__file__).parents[2] / "generator" / "demo"
    assert (folder / "images.zip").stat().st_size <= 8e6
    assert (folder / "weights.safetensors").stat().st_size <= 2e6
