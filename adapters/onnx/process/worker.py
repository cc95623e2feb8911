"""The suspect's own process: ``python -P -B -m adapters.onnx.process.worker SETTINGS``.

Started by `adapters.onnx.process.parent` in a private folder and with an empty environment. Imports
all that it will need, shuts itself in, and only then parses the file and answers requests until its
input ends. Native libraries print where they like: descriptors 0 and 1 are moved away before
anything but the standard library is imported.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from adapters.onnx.process.limits import allow_cpu_seconds, limit_memory
from adapters.onnx.process.sandbox import confine

if TYPE_CHECKING:
    from adapters.onnx.process.messages import (
        Answers,
        Compared,
        CompareRequest,
        FailureKind,
        Loaded,
        LoadRequest,
        Reply,
        RunRequest,
    )

PARENT_CHECK_S = 2.0
MAX_MESSAGE_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What the parent says before the first byte of the file is read."""

    model_path: str
    """The private copy; external data will lie beside it."""
    exchange: str
    """Handle of the shared memory."""
    memory_bytes: int | None
    """Address space until the session is made, bytes; None where CUDA may be used."""
    max_memory_bytes: int | None
    """Address space that the request for a session may name, bytes."""
    under_cuda: bool
    """Whether CUDA may be used, which needs devices, memory and calls that others do not."""
    max_nodes: int
    start_timeout_s: float
    num_threads: int


def main() -> None:
    """Serve one suspect."""
    serve(WorkerSettings(**json.loads(sys.argv[1])))


def serve(settings: WorkerSettings) -> None:
    """Serve one suspect on descriptors 0 and 1, shut in for the rest of this process's life."""
    requests, replies = _move_protocol()
    # Before the file, because no folder of ours is there afterwards; threads start later only.
    import_libraries()
    from adapters.onnx.process.messages import MAX_LINE_BYTES, Ready, to_line

    def send(reply: Reply) -> None:
        replies.write(to_line(reply))
        replies.flush()

    server = _Server(settings)
    confinement = confine(
        folder=Path(settings.model_path).parent,
        memory_bytes=settings.memory_bytes,
        max_memory_bytes=settings.max_memory_bytes,
        under_cuda=settings.under_cuda,
    )
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    send(Ready(confinement=confinement))
    while line := requests.readline(MAX_LINE_BYTES):
        send(server.reply_to(line))


def import_libraries() -> None:
    """Import everything that a suspect's process uses; one thread runs when this is done."""
    # The first is what `Counter.most_common` imports late, the last what Pillow does.
    import heapq

    import numpy
    import onnx
    import onnxruntime
    import PIL.Image
    import PIL.ImageFile

    from adapters.onnx.process import graph, messages, session, shared_memory, weights

    libraries = (heapq, numpy, onnx, onnxruntime, PIL.Image, PIL.ImageFile)
    modules = (graph, messages, session, shared_memory, weights)
    assert all(libraries + modules)


class _Server:
    """Holds the session between requests."""

    def __init__(self, settings: WorkerSettings) -> None:
        from adapters.onnx.process.session import RunState
        from adapters.onnx.process.shared_memory import open_exchange

        self._settings = settings
        self._exchange = open_exchange(settings.exchange)
        self._runner: Any = None
        self._output_names: tuple[str, ...] = ()
        self._state = RunState()

    def reply_to(self, line: bytes) -> Reply:
        """Answer one request; what goes wrong in it is a reply too."""
        from adapters.onnx.process import session as onnx_session
        from adapters.onnx.process.messages import (
            CompareRequest,
            DescribeRequest,
            Failure,
            LoadRequest,
            request_from_line,
        )

        request = request_from_line(line)
        allow_cpu_seconds(request.timeout_s * self._settings.num_threads)
        try:
            if isinstance(request, DescribeRequest):
                return _describe(self._settings)
            if isinstance(request, CompareRequest):
                return self._compare(request)
            return self._load(request) if isinstance(request, LoadRequest) else self._run(request)
        except onnx_session.UnsupportedError as error:
            return Failure(kind="unsupported", message=str(error))
        except Exception as error:
            kind: FailureKind = "memory" if onnx_session.is_out_of_memory(error) else "run"
            return Failure(kind=kind, message=_one_line(error))

    def _load(self, request: LoadRequest) -> Loaded:
        if request.memory_bytes is not None:
            # Before the runtime reads the weights, for which the limit is there.
            limit_memory(request.memory_bytes)
        import onnxruntime

        from adapters.onnx.process import session as onnx_session
        from adapters.onnx.process.messages import Loaded

        session = onnx_session.create_session(_own_file(self._settings), request)
        self._runner = onnx_session.runner_for(session)
        self._state = onnx_session.state_for(session)
        self._output_names = tuple(output.name for output in session.get_outputs())
        # What is there now stays for good; the collector need not look at it for every batch.
        gc.freeze()
        return Loaded(providers=tuple(session.get_providers()), runtime=onnxruntime.__version__)

    def _run(self, request: RunRequest) -> Answers:
        from adapters.onnx.process import session as onnx_session
        from adapters.onnx.process.messages import Answers

        described, arrays, left_out = onnx_session.answer(
            self._runner,
            self._output_names,
            request,
            self._exchange.pixels(request.shape),
            self._state,
        )
        self._exchange.put_answers(arrays)
        return Answers(arrays=tuple(described), left_out=tuple(left_out))

    def _compare(self, request: CompareRequest) -> Compared:
        from adapters.onnx.process.weights import compared

        return compared(_own_file(self._settings).read_bytes(), request, self._exchange)


def _describe(settings: WorkerSettings) -> Reply:
    from adapters.onnx.process.graph import NotOnnxError, RefusedError, describe
    from adapters.onnx.process.messages import Failure

    try:
        return describe(_own_file(settings).read_bytes(), max_nodes=settings.max_nodes)
    except NotOnnxError as error:
        return Failure(kind="not_onnx", message=str(error))
    except RefusedError as error:
        return Failure(kind="refused", message=str(error))
    except MemoryError:
        return Failure(kind="memory", message="the file needs more memory than it is allowed")


def _own_file(settings: WorkerSettings) -> Path:
    # From the working folder: its whole path may lead nowhere once the process is shut in.
    return Path(Path(settings.model_path).name)


def _move_protocol() -> tuple[BinaryIO, BinaryIO]:
    """Keep 0 and 1 for ourselves and give everyone else the null device."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return requests, replies


def _one_line(error: BaseException) -> str:
    from adapters.printable import printable

    text = " ".join(f"{type(error).__name__}: {error}".split())
    return printable(text[:MAX_MESSAGE_CHARACTERS])


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, even in the middle of a run."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    # Not by an exception, which would end this thread only: a run may never come back.
    os._exit(1)


if __name__ == "__main__":
    main()
