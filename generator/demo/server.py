"""A classifier behind HTTP that gives labels and nothing else, for the demo and the tests.

``python -m generator.demo.server MODEL.onnx --classes cat,dog`` listens on 127.0.0.1 and prints
one line, ``{"port": N}``, when it is ready. ``POST /classify {"image": "<base64 PNG>"}`` answers
``{"label": "cat"}``. It never listens elsewhere, and never imports torch.
"""

import argparse
import base64
import binascii
import io
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from generator.errors import GenerationError

MAX_BODY_BYTES = 8 << 20
_STOP_S = 3.0
"""How long a server may take to end before it is killed."""


class Classifier:
    """An ONNX model from a PNG file to a class name; used by several threads."""

    def __init__(
        self,
        model_path: Path,
        class_names: Sequence[str],
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Load the model.

        Args:
            model_path: ONNX file that takes float32 ``[N, C, H, W]`` and gives ``[N, K]``.
            class_names: The K names.
            mean: Per channel, in [0, 1] pixel units.
            std: Per channel, in [0, 1] pixel units.

        Raises:
            GenerationError: Not one name per output of the model.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(model_path), options, providers=["CPUExecutionProvider"]
        )
        model_input = self._session.get_inputs()[0]
        self._input_name: str = model_input.name
        _, self._channels, self._height, self._width = model_input.shape
        num_outputs = self._session.get_outputs()[0].shape[-1]
        if isinstance(num_outputs, int) and num_outputs != len(class_names):
            raise GenerationError(
                f"classes: expected {num_outputs} names, one per output, got {len(class_names)}"
            )
        self._class_names = tuple(class_names)
        self._mean = np.array(mean, dtype=np.float32).reshape(-1, 1, 1)
        self._std = np.array(std, dtype=np.float32).reshape(-1, 1, 1)

    def label(self, png: bytes) -> str:
        """Return the name of the likeliest class.

        Raises:
            ValueError: No image, or one of another size.
        """
        try:
            with Image.open(io.BytesIO(png)) as picture:
                pixels = np.asarray(picture.convert("L" if self._channels == 1 else "RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError("image: expected a PNG file, got something else") from error
        if pixels.shape[:2] != (self._height, self._width):
            found = "x".join(map(str, pixels.shape[:2]))
            raise ValueError(f"image: expected {self._height}x{self._width}, got {found}")
        logits = self._logits(pixels.reshape(self._height, self._width, self._channels))
        return self._class_names[int(logits.argmax())]

    def _logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = pixels.transpose(2, 0, 1).astype(np.float32) / 255  # [H, W, C] -> [C, H, W]
        batch = ((values - self._mean) / self._std)[np.newaxis]
        outputs = self._session.run(None, {self._input_name: batch})
        return np.asarray(outputs[0][0])


class _Server(ThreadingHTTPServer):
    """Listens on loopback and holds the classifier for its handlers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, classifier: Classifier, delay_s: float) -> None:
        self.classifier = classifier
        self.delay_s = delay_s
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept open over many requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    timeout = 60
    server: _Server

    def do_POST(self) -> None:
        """Answer one request."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, {"error": f"expected at most {MAX_BODY_BYTES} bytes"})
            return
        body = self.rfile.read(int(length))
        if self.path != "/classify":
            self._answer(404, {"error": "expected POST /classify"})
            return
        time.sleep(self.server.delay_s)
        try:
            image = base64.b64decode(json.loads(body)["image"], validate=True)
            self._answer(200, {"label": self.server.classifier.label(image)})
        except (KeyError, TypeError, binascii.Error, json.JSONDecodeError):
            self._answer(400, {"error": 'expected {"image": "<base64 PNG>"}'})
        except ValueError as error:
            self._answer(400, {"error": str(error)})

    def _answer(self, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server in a process of its own."""

    port: int
    process_id: int

    @property
    def url(self) -> str:
        """Where images are classified."""
        return f"http://127.0.0.1:{self.port}/classify"


@contextmanager
def start_server(
    model_path: Path,
    class_names: Sequence[str],
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    delay_s: float = 0.0,
    timeout_s: float = 30.0,
) -> Iterator[RunningServer]:
    """Run a server in a process of its own for the duration of a ``with`` block.

    The process also ends when this one dies, however it dies.

    Args:
        model_path: ONNX file that takes float32 ``[N, C, H, W]`` and gives ``[N, K]``.
        class_names: The K names, without commas.
        mean: Per channel, in [0, 1] pixel units.
        std: Per channel, in [0, 1] pixel units.
        delay_s: Seconds to wait before each answer.
        timeout_s: Seconds that starting may take.

    Raises:
        GenerationError: It did not start in time; the message ends in what it said.
    """
    command = [sys.executable, "-m", "generator.demo.server", str(model_path.absolute())]
    command += ["--classes", ",".join(class_names), "--delay-ms", str(delay_s * 1000)]
    command += ["--mean", *map(str, mean), "--std", *map(str, std), "--until-stdin-closes"]
    with tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=talk,
            env={**os.environ, "PYTHONPATH": _import_path()},
        )
        try:
            yield RunningServer(port=_ready_port(process, talk, timeout_s), process_id=process.pid)
        finally:
            _end(process)


def write_endpoint_file(path: Path, port: int, class_names: Sequence[str]) -> None:
    """Write the endpoint file for a server on this machine.

    Args:
        path: TOML file to write.
        port: Of the server.
        class_names: In the bundle's order.
    """
    names = ", ".join(json.dumps(name) for name in class_names)  # JSON strings are TOML strings
    path.write_text(
        f"""\
format = "generic"
url = "http://127.0.0.1:{port}/classify"
timeout_s = 10
concurrency = 4
class_names = [{names}]

[request]
template = '{{"image": "{{{{image_base64_png}}}}"}}'

[answer]
label = "label"
""",
        encoding="utf-8",
    )


def _import_path() -> str:
    """Return a ``PYTHONPATH`` with which the child finds this very package."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


def _ready_port(process: subprocess.Popen[bytes], talk: IO[bytes], timeout_s: float) -> int:
    """Wait for the line that names the port."""
    lines: queue.Queue[bytes] = queue.Queue()
    assert process.stdout is not None
    readline = process.stdout.readline
    threading.Thread(target=lambda: lines.put(readline()), daemon=True).start()
    with suppress(queue.Empty, ValueError, KeyError):
        return int(json.loads(lines.get(timeout=timeout_s))["port"])
    talk.seek(0)
    said = talk.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise GenerationError(
        f"demo server: expected it to be ready within {timeout_s:g} s, got {said or 'nothing'}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _exit_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m generator.demo.server", description=__doc__)
    parser.add_argument("model", type=Path, help="ONNX file, float32 [N, C, H, W] to [N, K]")
    parser.add_argument("--classes", required=True, help="class names, separated by commas")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], help="per channel")
    parser.add_argument("--std", type=float, nargs="+", default=[1.0], help="per channel")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="wait before each answer")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="exit when the parent is gone"
    )
    options = parser.parse_args(arguments)
    classifier = Classifier(
        options.model, options.classes.split(","), mean=options.mean, std=options.std
    )
    if options.until_stdin_closes:
        threading.Thread(target=_exit_with_stdin, daemon=True).start()
    with _Server(options.port, classifier, options.delay_ms / 1000) as server:
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
