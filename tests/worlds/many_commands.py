"""Many command lines of ``kinprint`` one after another, on a pipe or on a terminal of their own.

``python many_commands.py LINES.json`` runs them in one process, which saves starting Python for
each: all of them write to its real standard output and error, and so do their children.
"""

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import tty
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TIMEOUT_S = 600
_MARK = re.compile(r"\n@@ (\d+) (-?\d+)\n")


def run_many(
    lines: Sequence[Sequence[str]], folder: Path, *, on_terminal: bool
) -> list[tuple[int, str]]:
    """Run command lines; a question is answered with "y".

    Args:
        lines: Arguments of ``kinprint``.
        folder: Where they run, and where what the user has lies.
        on_terminal: Give them a terminal that passes bytes on as they are; a pipe otherwise.

    Returns:
        For each its exit status and all that was written, decoded as file names are.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
        json.dump([list(line) for line in lines], listed)
        listed.flush()
        environment = {
            **os.environ,
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "COLUMNS": "200",
            "TERM": "xterm-256color",
        }
        command = [sys.executable, __file__, listed.name]
        if on_terminal:
            written = _on_terminal(command, folder, environment)
        else:
            written = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=True,
            ).stdout
    parts = _MARK.split(os.fsdecode(written))  # output, number, status, output, number, status, ""
    return [(int(status), output) for output, status in zip(parts[::3], parts[2::3], strict=False)]


def _on_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> bytes:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, b"y\n" * 20)
        written = b""
        with suppress(OSError):  # Linux says so when the other end is closed
            while piece := os.read(ours, 1 << 16):
                written += piece
        assert process.wait(TIMEOUT_S) == 0, written[-2000:]
    os.close(ours)
    return written


def _main() -> None:
    from kinprint import main

    for number, line in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        # The screen is not for this: it would take the terminal, and wait for keys.
        os.environ["TERM"] = "dumb" if line[0] == "ui" else "xterm-256color"
        sys.argv = ["kinprint", *line]
        status: object = 0
        try:
            main()
        except SystemExit as error:
            status = error.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(1, f"\n@@ {number} {status}\n".encode())


if __name__ == "__main__":
    _main()
