"""What a sweep shows on standard error, in a terminal and elsewhere."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOWS = """
from audit.commands.sweeping.progress import SweepProgress
from audit.sweep.run import Listed, Noted, Progressed
with SweepProgress(is_shown=True) as progress:
    progress.show(Listed(num_names=3, is_complete=True))
    progress.show(Progressed(num_done=1, num_names=3))
    progress._bars.refresh()
    progress.show(Noted(text="[a] word " + "that is longer than the terminal is wide " * 3 + "end"))
    progress._bars.refresh()
"""


def lines_at_a_terminal(script: str) -> list[str]:
    """Run a script with a terminal as its standard error; returns what each line ends up as."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=theirs, cwd=ROOT, env=environment
    )
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 4096):
            told += piece
    except OSError:  # that is how a terminal's end is told on Linux
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    plain = re.sub(
        r"\x1b\[[0-9;?]*[a-zA-Z]", lambda code: "\n" if code[0][-1] == "K" else "", told.decode()
    )
    return [line for line in re.split(r"[\r\n]+", plain) if line]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
def test_a_word_gets_a_line_of_its_own_above_the_bar() -> None:
    lines = lines_at_a_terminal(SHOWS)
    (begin,) = (place for place, line in enumerate(lines) if "[a] word" in line)
    assert lines[begin].startswith("[a] word that is longer")
    assert any("1/3" in line for line in lines[:begin])
    assert any("1/3" in line for line in lines[begin + 1 :])


def test_a_word_is_a_line_where_there_is_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWS], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=True
    )
    assert done.stderr.splitlines()[0].startswith("[a] word that is longer than the terminal")
    assert done.stderr.splitlines()[0].endswith(" end")
