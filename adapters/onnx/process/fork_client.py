"""Start suspects' processes by forking one that is ready, where the system can (Linux).

`ForkServer` is this side of `adapters.onnx.process.fork_server`. What it starts has the same
limits, the same empty environment and is shut in like what `adapters.onnx.process.parent` starts
afresh; one process per suspect, as always. Its address space is laid out like its siblings',
which is the price: docs/adr/0007 weighs it.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from adapters.onnx.process.environment import clean_environment
from adapters.onnx.process.worker import WorkerSettings
from adapters.suspect import SuspectError

START_TIMEOUT_S = 120.0
"""Until everything is imported, seconds; a cold disk is slow."""
SERVER_MODULE = "adapters.onnx.process.fork_server"
REPLY_TIMEOUT_S = 30.0
MAX_REPLY_BYTES = 4096


def can_fork() -> bool:
    """Return whether this system can start suspects' processes by forking."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class ForkServer:
    """Forks suspects' processes; started at the first one, and anew when it has died.

    Close it, or let this process end: nothing that it forked outlives it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def process_id(self) -> int | None:
        """Return the server's process id; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self, settings: WorkerSettings, *, folder: Path, stderr: int) -> "ForkedProcess":
        """Fork a process for one suspect.

        Args:
            settings: What it may do; shared memory is handed over by its descriptor.
            folder: Its working folder.
            stderr: Descriptor of its standard error; stays open here.

        Raises:
            SuspectError: The server cannot be started or does not answer.
        """
        kind, _, number = settings.exchange.partition(":")
        shared = [int(number)] if kind == "fd" else []
        requests, stdin = os.pipe()
        stdout, replies = os.pipe()
        request = {"settings": asdict(settings), "folder": str(folder)}
        try:
            with self._lock:
                told, handle = self._ask(request, [requests, replies, stderr, *shared])
            assert handle is not None, "a reply to a fork has a descriptor"
        except BaseException:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            # The child has its own: while these are open, nobody would see that its ends are
            # closed.
            os.close(requests)
            os.close(replies)
        return ForkedProcess(self, int(told["pid"]), handle, stdin, stdout)

    def reap(self, pid: int) -> int:
        """Return how an ended process ended, as `subprocess.Popen.returncode`."""
        with self._lock:
            told, _ = self._ask({"reap": pid}, [])
        return os.waitstatus_to_exitcode(int(told["status"]))

    def close(self) -> None:
        """End the server and all that it forked; harmless when done before."""
        with self._lock:
            self._end()

    def _ask(self, request: object, descriptors: list[int]) -> tuple[dict[str, Any], int | None]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            if isinstance(request, dict) and "reap" in request:
                raise SuspectError("onnx: the server of suspects' processes has ended")
            self._begin()
        control = self._control
        assert control is not None
        try:
            socket.send_fds(control, [json.dumps(request).encode()], descriptors)
            data, handles, _, _ = socket.recv_fds(control, MAX_REPLY_BYTES, 1)
            return json.loads(data), (handles[0] if handles else None)
        except (OSError, ValueError) as error:
            self._end()
            raise SuspectError(
                f"onnx: the server of suspects' processes does not answer ({error}); try again"
            ) from error

    def _begin(self) -> None:
        # It keeps messages apart, so that descriptors come with the message that speaks of them.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-B",
                    "-m",
                    SERVER_MODULE,
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=clean_environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SuspectError(f"onnx: cannot start suspects' processes: {error}") from error
        finally:
            theirs.close()
        self._control = ours
        ours.settimeout(START_TIMEOUT_S)
        try:
            if not ours.recv(MAX_REPLY_BYTES):
                raise OSError("it ended while it started")
        except OSError as error:
            self._end()
            raise SuspectError(f"onnx: cannot start suspects' processes: {error}") from error
        ours.settimeout(REPLY_TIMEOUT_S)

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                # It ends what it forked when it sees that the socket has ended.
                self._process.wait(START_TIMEOUT_S if self._process.poll() is None else 0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class ForkedProcess:
    """A process that somebody else is the parent of; as much of `subprocess.Popen` as is needed."""

    def __init__(self, server: ForkServer, pid: int, handle: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._server, self._handle = server, handle
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._result(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        result = self._result(timeout)
        if result is None:
            raise subprocess.TimeoutExpired("suspect", timeout or 0.0)
        return result

    def kill(self) -> None:
        """End it now; harmless when it has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _result(self, timeout_s: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                # A pidfd can be read once its process has ended, and names no other process, ever.
                poller = select.poll()
                poller.register(self._handle, select.POLLIN)
                if not poller.poll(None if timeout_s is None else timeout_s * 1000):
                    return None
                try:
                    self.returncode = self._server.reap(self.pid)
                except SuspectError:
                    self.returncode = -9  # its server died, and took it along
                # Under the lock: kill() must not use a number that may be another file's by then.
                os.close(self._handle)
            return self.returncode
