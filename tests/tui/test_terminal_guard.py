"""A process whose terminal is gone ends, whatever it waits for."""

import os
import subprocess
import sys

import pytest

STUCK = """
import threading
from audit.tui.terminal_guard import end_with_terminal
end_with_terminal(0.2)
print("guarded", flush=True)
stuck = threading.Lock()
stuck.acquire()
stuck.acquire()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_process_that_hangs_ends_some_time_after_its_terminal() -> None:
    import pty

    ours, theirs = pty.openpty()
    # No controlling terminal, so that no signal comes either.
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        stdin=theirs,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"guarded\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)  # as long as the terminal is there, so is the process
        os.close(ours)
        assert process.wait(120) == 129
    finally:
        process.kill()
        process.communicate()
