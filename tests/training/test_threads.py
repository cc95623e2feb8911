"""What the generator asks of the machine's threads."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import generator.training.loop, os; print(os.environ['OMP_WAIT_POLICY'])"


@pytest.mark.parametrize(("chosen", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_let_others_work_unless_the_user_chose(
    chosen: str | None, expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if chosen is not None:
        environment["OMP_WAIT_POLICY"] = chosen
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == expected
