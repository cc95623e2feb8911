"""``--require-sandbox``: where a file cannot be shut in, every command that reads one says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from worlds.long_runs import first
from worlds.onnx_builders import brightest_channel, save
from worlds.takeover.lesser_kernel import LANDLOCK, NAMESPACES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes calls of Linux away")

TESTS = Path(__file__).resolve().parents[1]
BUNDLE, TRUST = TESTS / "data" / "audited.kinprint", TESTS / "data" / "small.pub"

SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from worlds.takeover.lesser_kernel import without
without(tuple(sys.argv.pop(1).split(",")))
import kinprint
kinprint.main()
"""


def kinprint_on_a_lesser_kernel(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    calls = ",".join((*LANDLOCK, *NAMESPACES))
    command = [sys.executable, "-c", SCRIPT, str(TESTS), calls, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, check=False)


@pytest.mark.parametrize("command", first(2, ["audit", "sweep", "probe", "challenge"]))
def test_a_command_ends_where_the_system_cannot_confine(tmp_path: Path, command: str) -> None:
    (tmp_path / "files").mkdir()
    file = save(brightest_channel(), tmp_path / "files" / "model.onnx")
    places: dict[str, list[str | Path]] = {
        "probe": ["--onnx", file],
        "audit": [BUNDLE, "--onnx", file, "--trust", TRUST],
        "challenge": [BUNDLE, "--onnx", file.parent, "--trust", TRUST],
        "sweep": ["--bundles", BUNDLE, "--suspects", file.parent, "--trust", TRUST,
                  "-o", tmp_path / "results"],
    }  # fmt: skip
    done = kinprint_on_a_lesser_kernel(command, *places[command], "--require-sandbox")
    assert "sandbox: expected to shut the suspect's process in fully, got partial" in done.stderr
    assert done.returncode not in (0, 1)
    assert done.stdout == ""
    assert not (tmp_path / "results").exists()
