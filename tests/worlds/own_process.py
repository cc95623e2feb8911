"""The command line in a process of its own, where an interpreter that starts is the point.

`worlds.in_process` says the same in a tenth of the time. No time limit here: pytest's ends a test
that hangs, and the process with it.
"""

import os
import subprocess
import sys


def kinprint(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``kinprint`` with these arguments, its input closed."""
    return subprocess.run(
        [sys.executable, "-m", "kinprint", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
