"""A process that has imported everything a suspect's process needs, and forks one per suspect.

Started by `adapters.onnx.process.fork_client` as ``python -P -B -m
adapters.onnx.process.fork_server DESCRIPTOR`` with the clean environment of every suspect's
process. It never reads a byte of a suspect: what it forks limits itself before it opens the file,
exactly as a process that was started afresh (`adapters.onnx.process.worker`), and nothing that a
suspect does reaches the next one. What is saved is the import of onnx and onnxruntime, which takes
longer than asking a small file does.

One request at a time over a socket: ``fork`` with the descriptors of the new process's streams,
answered by its id and a descriptor that names it; ``reap`` when it has ended, answered by its
status. Until then the id stays taken, so that a signal never reaches a stranger. When the socket
ends, so does everything that was forked.
"""

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

from adapters.onnx.process.worker import WorkerSettings, import_libraries, serve

MAX_REQUEST_BYTES = 1 << 16
MAX_DESCRIPTORS = 4


def main() -> None:
    """Serve until the other side is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import_libraries()
    gc.collect()
    gc.freeze()  # so that children share these pages
    control.sendall(b"{}")
    running: set[int] = set()
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, MAX_DESCRIPTORS)
            if not data:
                return
            request = json.loads(data)
            if "reap" in request:
                _, status = os.waitpid(request["reap"], 0)
                running.discard(request["reap"])
                control.sendall(json.dumps({"status": status}).encode())
                continue
            # With one thread only (ADR 7): the child finds no lock that nobody opens.
            process = os.fork()
            if process == 0:
                _become_worker(control, request, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            running.add(process)
            # The id is still the child's, even if it has ended: it stays taken until `reap`.
            handle = os.pidfd_open(process)
            socket.send_fds(control, [json.dumps({"pid": process}).encode()], [handle])
            os.close(handle)
    finally:
        for process in running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)


def _become_worker(
    control: socket.socket, request: dict[str, object], descriptors: list[int]
) -> NoReturn:
    """Take the descriptors' places and serve one suspect; never returns to the server's loop."""
    status = 1
    try:
        os.setsid()
        # Before a byte of the suspect is read: no way leads back to the server.
        control.close()
        stdin, stdout, stderr, *exchange = descriptors
        # 0 to 2 are the null device here, so that none of these lies where another one goes.
        for target, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.chdir(str(request["folder"]))
        settings = request["settings"]
        assert isinstance(settings, dict)
        if exchange:
            settings["exchange"] = f"fd:{exchange[0]}"
        serve(WorkerSettings(**settings))
        status = 0
    except BaseException as error:
        with suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
