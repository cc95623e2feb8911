"""A shell that took the printed script completes commands and options."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from worlds.in_process import run

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_command_and_its_options(tmp_path: Path) -> None:
    script = run("completion", "bash")
    assert script.returncode == 0
    program = tmp_path / "kinprint"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m kinprint\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    asked = (
        f'PATH="{tmp_path}:$PATH"\n{script.stdout}\n'
        "COMP_WORDS=(kinprint aud) COMP_CWORD=1\n_kinprint_completion kinprint\n"
        'echo "${COMPREPLY[@]}"\n'
        "COMPREPLY=() COMP_WORDS=(kinprint audit --att) COMP_CWORD=2\n"
        "_kinprint_completion kinprint\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["audit", "--attribute"], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(shell: str) -> None:
    assert f"{shell}_complete" in run("completion", shell).stdout
