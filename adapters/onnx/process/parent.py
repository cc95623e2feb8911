"""The parent's side of a suspect's process: start it, ask it, end it.

One process per suspect, started once. Whatever it does (crash, loop, answer nonsense, eat memory),
the caller gets a `SuspectError` within the time limit and the process is gone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from adapters.onnx.process.environment import clean_environment
from adapters.onnx.process.fork_client import ForkedProcess, ForkServer
from adapters.onnx.process.messages import (
    MAX_LINE_BYTES,
    OF_METADATA,
    Answers,
    Compared,
    Description,
    Failure,
    Loaded,
    Ready,
    Reply,
    Request,
    to_line,
)
from adapters.onnx.process.worker import WorkerSettings
from adapters.printable import printable
from adapters.suspect import SuspectConfigError, SuspectError

R = TypeVar("R", Ready, Description, Loaded, Answers, Compared)

WORKER_MODULE = "adapters.onnx.process.worker"
MAX_STDERR_BYTES = 4096
END_TIMEOUT_S = 5.0
WATCH_INTERVAL_S = 0.1

_ADAPTERS: dict[str, TypeAdapter[Reply]] = {
    reply.__name__: TypeAdapter(reply)
    for reply in (Ready, Description, Loaded, Answers, Compared, Failure)
}


class WorkerProcess:
    """A running suspect process."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        folder: Path,
        inherit: int | None,
        server: ForkServer | None = None,
    ) -> None:
        """Start it.

        Args:
            settings: What it may do.
            folder: Its working folder.
            inherit: Descriptor of the shared memory, if it has one.
            server: Forks it; by default it starts afresh.
        """
        self._lock = threading.Lock()
        self._timed_out = False
        self._deadline: float | None = None
        self._ended = threading.Event()
        self._stderr, stderr = os.pipe()
        with contextlib.suppress(OSError):
            # A full pipe must drop what native libraries print, not stop them.
            os.set_blocking(stderr, False)
        try:
            self._process: subprocess.Popen[bytes] | ForkedProcess
            if server is not None:
                self._process = server.start(settings, folder=folder, stderr=stderr)
            else:
                self._process = _start_afresh(settings, folder, stderr, inherit)
        except BaseException:
            os.close(self._stderr)
            raise
        finally:
            os.close(stderr)
        # A watch of its own, not a timer per question: starting a thread takes longer than a batch.
        threading.Thread(target=self._watch, daemon=True, name="suspect-watch").start()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Return whether the process is still there."""
        return self._process.poll() is None

    def ask(self, request: Request | None, expected: type[R], *, timeout_s: float) -> R:
        """Send a request and wait for its reply.

        Args:
            request: What to do; None waits for what the process says first.
            expected: Type of a good reply.
            timeout_s: Wall-clock time, seconds.

        Returns:
            The reply.

        Raises:
            SuspectConfigError: The file is no ONNX model, or the device is not there.
            SuspectError: The process failed, died, took too long or answered nonsense.
        """
        with self._lock:
            line = self._exchange_lines(request, timeout_s)
        try:
            fields = from_json(line)
            # Before a word of it can get into a message, and by that to a terminal.
            if not _is_printable(fields):
                raise ValueError("control characters")
            kind = fields["type"]
            reply = _ADAPTERS[kind].validate_json(line, strict=True)
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            self.end()
            raise SuspectError("onnx: the suspect's process answered nonsense") from error
        if isinstance(reply, Failure):
            error_type = (
                SuspectConfigError if reply.kind in ("not_onnx", "unsupported") else SuspectError
            )
            raise error_type(_failure_text(reply))
        if not isinstance(reply, expected):
            self.end()
            raise SuspectError("onnx: the suspect's process answered something else than asked")
        return reply

    def end(self) -> None:
        """Kill the process and everything it started; harmless when it is gone."""
        self._ended.set()
        if self.is_running:
            self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1

    def _exchange_lines(self, request: Request | None, timeout_s: float) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        if stdin.closed:
            raise SuspectError("onnx: the suspect's process has been ended; open the file again")
        started = time.monotonic()
        self._deadline = started + timeout_s
        try:
            if request is not None:
                stdin.write(to_line(request))
                stdin.flush()
            # A line that never ends comes back without its line feed, which counts as a death.
            line: bytes = stdout.readline(MAX_LINE_BYTES)
        except BrokenPipeError:
            line = b""
        except BaseException:
            # Interrupted half way: a later reply would answer the wrong question.
            self.end()
            raise
        finally:
            self._deadline = None
        if not line.endswith(b"\n"):
            raise self._death(time.monotonic() - started, timeout_s)
        return line

    def _watch(self) -> None:
        """Kill the process when a reply is overdue."""
        while not self._ended.wait(WATCH_INTERVAL_S):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._timed_out = True
                self._kill()
                return

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The whole group: what a hostile file has started goes with it.
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.kill()

    def _death(self, elapsed_s: float, timeout_s: float) -> SuspectError:
        """Say how the process ended, and clear it away."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        code = self._process.returncode
        words = self._last_words()
        self.end()
        if self._timed_out:
            return SuspectError(
                f"onnx: the suspect did not answer within {timeout_s:g} s and was ended; "
                "raise the time limit if the model is known to be slow"
            )
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            if name == "SIGXCPU":
                return SuspectError("onnx: the suspect used up its CPU time and was ended")
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return SuspectError(
                f"onnx: the suspect's process was ended by {name}{hint} after {elapsed_s:.1f} s; "
                "the file crashes the runtime"
            )
        return SuspectError(
            f"onnx: the suspect's process ended with exit code {code}"
            + (f": {words}" * bool(words))
        )

    def _last_words(self) -> str:
        """Return the last line that the process wrote to its standard error."""
        with contextlib.suppress(OSError):
            os.set_blocking(self._stderr, False)
            lines = (
                os.read(self._stderr, 65536)[-MAX_STDERR_BYTES:]
                .decode(errors="replace")
                .split("\n")
            )
            return next(
                (printable(line.strip()[:300]) for line in reversed(lines) if line.strip()), ""
            )
        return ""


def _start_afresh(
    settings: WorkerSettings, folder: Path, stderr: int, inherit: int | None
) -> subprocess.Popen[bytes]:
    # -P: import nothing from the working folder, where the file lies. -B: write no bytecode. The
    # session of its own is a group that can be killed, and hears no Ctrl-C of ours.
    command = [sys.executable, "-P", "-B", "-m", WORKER_MODULE]
    return subprocess.Popen(
        [*command, json.dumps(asdict(settings))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=folder,
        env=clean_environment(),
        pass_fds=() if inherit is None else (inherit,),
        start_new_session=True,
    )


def _is_printable(value: Any) -> bool:
    """Return whether no text within a JSON value could steer a terminal."""
    if isinstance(value, str):
        return printable(value, allowed=OF_METADATA) == value
    if isinstance(value, dict):
        return all(_is_printable(part) for pair in value.items() for part in pair)
    return not isinstance(value, list) or all(_is_printable(part) for part in value)


def _failure_text(failure: Failure) -> str:
    if failure.kind == "memory":
        return f"onnx: the suspect needs more memory than it is allowed ({failure.message[:200]})"
    if failure.kind == "run":
        return f"onnx: onnxruntime cannot use this file: {failure.message}"
    return f"onnx: {failure.message}" if failure.kind != "unsupported" else failure.message
