"""A type checker sees through the public names of what is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import kinprint
from installed.installation import Installation

pytestmark = pytest.mark.installed

SCRIPT = f"""\
from kinprint import {", ".join(kinprint.__all__)}

bundle = open_bundle("model.kinprint", trust=["owner.pub"])
for suspect in (open_file(bundle, "copy.onnx"), open_remote(bundle, "vendor.toml")):
    outcome: Outcome = audit_suspect(bundle, suspect)
    reveal_type(outcome.verdict)
"""


def test_a_script_is_checked_against_the_types_of_the_api(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    options = ["--strict", "--python-executable", str(installation.python)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert 'script.py:6: note: Revealed type is "audit.verdict.outcome.Verdict"' in done.stdout
