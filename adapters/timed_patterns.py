"""Regular expressions out of a file, searched in texts of a stranger's, with a time limit.

Python's ``re`` cannot be interrupted and keeps all threads waiting, and some expressions take
longer than anybody lives on some texts. So a small process of its own searches, which is ended when
it takes too long. It starts with the first search and holds no environment and no secret.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import IO, Any

TIME_LIMIT_S = 2.0
"""For all expressions on one text; usual ones need microseconds."""
MAX_PATTERN_CHARACTERS = 1000
_START_LIMIT_S = 30.0
"""For the process to start, which a busy machine may take long for."""
_PROGRAM = """
import json, re, sys
patterns = [re.compile(each, re.IGNORECASE) for each in json.loads(sys.stdin.readline())]
print("ready", flush=True)
for line in sys.stdin:
    found = [each.search(json.loads(line)) for each in patterns]
    texts = [each and each[1 if each.re.groups else 0] for each in found]
    print(json.dumps(texts), flush=True)
"""


class PatternTimeoutError(Exception):
    """The expressions took too long on a text."""


def checked_pattern(pattern: str) -> str:
    """Return a regular expression that compiles.

    Raises:
        ValueError: It is none, or longer than anybody writes.
    """
    if not 1 <= len(pattern) <= MAX_PATTERN_CHARACTERS:
        raise ValueError(
            f"expected a regular expression of 1 to {MAX_PATTERN_CHARACTERS} characters, got "
            f"{len(pattern)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may mean something else one day
            re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression, got {pattern!r} ({error})") from None
    return pattern


class TimedPatterns:
    """Some expressions, searched for together; threads take turns.

    Args:
        patterns: That `checked_pattern` has let pass; the case of letters does not count.
        time_limit_s: For all of them on one text.
    """

    def __init__(self, patterns: Sequence[str], time_limit_s: float = TIME_LIMIT_S) -> None:
        self._patterns, self._time_limit_s = tuple(patterns), time_limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def search(self, text: str) -> list[str | None]:
        """Return what each expression finds first: its first group, or all of it; None for nothing.

        Raises:
            PatternTimeoutError: They took longer than the limit.
        """
        with self._lock:
            if self._process is None:
                self._process = self._started()
            found = self._told(text, self._time_limit_s)
            if found is None:
                self._end()
                raise PatternTimeoutError
            listed: list[str | None] = json.loads(found)
            return listed

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()

    def _started(self) -> "subprocess.Popen[str]":
        needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-W", "ignore", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=needed,
            text=True,
            encoding="ascii",
        )
        if self._told(self._patterns, _START_LIMIT_S) is None:
            self._end()
            raise PatternTimeoutError
        return self._process

    def _told(self, value: Any, limit_s: float) -> str | None:
        """Send a line and return the answer; nothing where the process had to be ended."""
        process = self._process
        assert process is not None
        timer = threading.Timer(limit_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            stdin, stdout = _pipes(process)
            stdin.write(f"{json.dumps(value)}\n")
            stdin.flush()
            return stdout.readline() or None
        except OSError:
            return None
        finally:
            timer.cancel()

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in _pipes(process):
            with contextlib.suppress(OSError):  # what was not written any more
                pipe.close()


def _pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
