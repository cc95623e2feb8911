"""The oldest and the newest Python of this machine that may run it do so, too."""

import json
import sys
from pathlib import Path

import pytest
from worlds.kept_environment import BuildError

from installed.distribution import Distribution
from installed.installation import Installation, installed
from installed.other_pythons import other_pythons

pytestmark = pytest.mark.installed

TRUSTED = ("model.kinprint", "--trust", "owner.pub")
RECORD = ("audit.kinrecord", "--bundle", *TRUSTED, "--trust", "auditor.pub")
HERE = ("--journal", "journal.sqlite", "--device", "cpu", "--json")


@pytest.mark.parametrize("age", ["oldest", "newest"])
def test_a_file_is_audited_and_its_record_verified(
    distribution: Distribution, folder: Path, age: str
) -> None:
    others, ours = other_pythons(), sys.version_info.minor
    minor = (min if age == "oldest" else max)([ours, *others])
    if minor == ours:
        pytest.skip(f"of those found, Python 3.{ours} is the {age}, and ran the other tests")
    try:
        with installed(distribution.wheel, others[minor]) as installation:
            _use(installation, folder)
    except BuildError as error:
        if "No matching distribution found" in str(error):
            pytest.skip(f"a package has no wheel for Python 3.{minor}: {error}")
        pytest.fail(str(error), pytrace=False)


def _use(installation: Installation, folder: Path) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        done = installation.kinprint(folder, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
        return done.stdout

    assert run("--help").startswith("Usage: kinprint")
    signature = json.loads(run("inspect", *TRUSTED, "--json"))["signature"]
    assert signature["state"] == "valid and trusted"
    run("keygen", "auditor.key")
    evidence = ("--record", "audit.kinrecord", "--auditor-key", "auditor.key")
    run("audit", *TRUSTED, "--onnx", "copy.onnx", *evidence, *HERE, status=10)
    assert json.loads(run("verify", *RECORD, "--json"))["result"] == "holds"
