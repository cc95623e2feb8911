"""Starts a server's process, waits until it answers, and ends it with all its children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

READY_TIMEOUT_S = 600.0
_STOP_S = 10.0


def free_ports(num: int) -> list[int]:
    """Return ports on loopback that nobody uses right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log_path: Path,
    is_ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[None]:
    """Run a server for the duration of a ``with`` block.

    Args:
        command: The process.
        log_path: What it says goes there.
        is_ready: Whether it answers.
        environment: Variables besides our own.
        folder: Where it runs.

    Raises:
        RuntimeError: It ended, or did not answer in time; the message ends in what it said.
    """
    # Nothing of ours gets into its environment: neither packages nor proxies.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV")) and not name.lower().endswith("_proxy")
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**clean, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not is_ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log_path.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{command[0]} did not become ready\n{said}")
                time.sleep(0.1)
            yield
        finally:
            _end(process)


def answers(url: str) -> Callable[[], bool]:
    """Return a check whether a GET is answered with 200."""

    def check() -> bool:
        try:
            return requests.get(url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    return check


def _end(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
