"""Our side of the function's process: start it, ask it, and end it when it takes too long."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.printable import printable, shortened
from adapters.python.messages import MAX_LINE_BYTES, returned_in, write_images
from adapters.python.returned import Returned
from adapters.suspect import (
    SuspectConfigError,
    SuspectError,
    SuspectFailingError,
    SuspectUnreachableError,
)

START_LIMIT_S = 300.0
"""To import the file and all that it imports."""
_END_LIMIT_S = 5.0
_MAX_PRINTED = 4000
_MAX_TOLD = 1000
_ROOT = Path(__file__).resolve().parents[2]
_START = (
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
    "from adapters.python.worker import main; main()"
)


class FunctionProcess:
    """A function of a Python file, called in a process of its own.

    Args:
        path: The file.
        name: The function's.
        limit_s: Seconds that one call may take.
    """

    def __init__(self, path: Path, name: str, limit_s: float) -> None:
        """Start the process; the file is imported now.

        Raises:
            SuspectConfigError: It cannot be imported, or has no such function.
        """
        self._title, self._limit_s = f"{path.name}:{name}", limit_s
        self._has_answered = False
        self._printed = ""
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A Ctrl-C is for us: the call that it would break may be paid.
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._take_lines, self._take_text)
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def ask(self, images: NDArray[np.uint8]) -> Returned:
        """Call the function.

        Args:
            images: ``[N, H, W, C]``.

        Raises:
            SuspectFailingError: It raised, died or took too long, after it had answered before.
            SuspectUnreachableError: The same with the first images.
            SuspectError: It returned something else than it should.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            write_images(stdin, images)  # type: ignore[arg-type]
        except (OSError, ValueError):
            raise self._failing(self._end()) from None
        answer = self._next(self._limit_s)
        if answer is None:
            self._kill()
            raise self._failing(
                f"no answer within {self._limit_s:g} s (--call-timeout); its process was ended"
            )
        if not answer:
            raise self._failing(self._end())
        if "raised" in answer:
            raise self._failing(_told(answer["raised"]))
        if "wrong" in answer:
            raise SuspectError(_told(answer["wrong"]))
        self._has_answered = True
        return returned_in(answer)

    def close(self) -> None:
        """End the process, and all that it started."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):
            stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_S)  # it may have connections to close
        self._kill()
        for thread in self._threads:
            thread.join(_END_LIMIT_S)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _begin(self) -> None:
        answer = self._next(START_LIMIT_S)
        if answer and "ready" in answer:
            return
        if answer is None:
            told = f"it did not end within {START_LIMIT_S:g} s"
        elif answer:
            told = _told(answer.get("raised") or answer["wrong"])
        else:
            told = self._end()
        if answer and "wrong" in answer:
            raise SuspectConfigError(told)
        raise SuspectConfigError(
            f"{self._title}: expected a file that can be imported, got {told}{self._words()}"
        )

    def _next(self, limit_s: float) -> dict[str, Any] | None:
        """Return the next message; an empty one for the end, None where none comes in time."""
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            return None
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return answer

    def _failing(self, told: str) -> SuspectError:
        kind = SuspectFailingError if self._has_answered else SuspectUnreachableError
        later = "; what was answered is kept, go on with --resume" if self._has_answered else ""
        return kind(
            f"{self._title}: expected an answer from the function, got {told}{self._words()}{later}"
        )

    def _end(self) -> str:
        """Return in words how the process ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_LIMIT_S)
        self._kill()
        status = self._process.returncode
        self._threads[1].join(_END_LIMIT_S)
        if status is not None and status < 0:
            return f"the end of its process by {signal.Signals(-status).name}"
        return f"the end of its process with status {status}"

    def _words(self) -> str:
        """Return the last line that the process printed, where it printed any."""
        lines = self._printed.strip().splitlines()
        return f" (last printed: {_told(lines[-1])!r})" if lines else ""

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def _take_lines(self) -> None:
        assert self._process.stdout is not None
        line = b"\n"
        while line.endswith(b"\n"):
            line = self._process.stdout.readline(MAX_LINE_BYTES)
            self._lines.put(line)

    def _take_text(self) -> None:
        assert self._process.stderr is not None
        while part := os.read(self._process.stderr.fileno(), 1 << 16):
            self._printed = (self._printed + part.decode(errors="replace"))[-_MAX_PRINTED:]


def _told(text: str) -> str:
    return printable(shortened(" ".join(text.split()), _MAX_TOLD))
