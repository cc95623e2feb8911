"""Makes the demo's files with the command line, in the terminal itself."""

import subprocess
import sys
from pathlib import Path


def run_demo(out: Path) -> bool:
    """Run ``kinprint demo``, which takes about two minutes.

    Args:
        out: Folder that it makes.

    Returns:
        Whether it ran to its end.
    """
    command = [sys.executable, "-m", "kinprint", "demo", "--out", str(out)]
    print("kinprint demo: crafts a bundle and suspects, about two minutes\n")
    return subprocess.run(command, check=False).returncode == 0
