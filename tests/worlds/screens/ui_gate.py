"""A label server that answers exactly as many requests as a test lets through.

What the screen shows in the middle of an audit then depends on no clock.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.demo.server import Classifier, _Server, write_endpoint_file
from worlds.record_builder import audited_contents

PATIENT_S = 100
"""Time-out of the endpoint file: no test waits so long, a busy machine may."""


class Gate:
    """Counts requests in; hands out answers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_let, self.num_asked = 0.0, 0

    def let(self, num: int) -> None:
        """Let so many requests more be answered."""
        with self._changed:
            self._num_let += num
            self._changed.notify_all()

    def open(self) -> None:
        """Let all be answered from now on."""
        with self._changed:
            self._num_let = float("inf")
            self._changed.notify_all()

    def enter(self) -> None:
        """Wait for this request's turn."""
        with self._changed:
            self.num_asked += 1
            number = self.num_asked
            self._changed.wait_for(lambda: number <= self._num_let)


class GatedClassifier(Classifier):
    """Answers what the gate lets through."""

    gate: Gate

    def label(self, png: bytes) -> str:
        """See `Classifier.label`."""
        self.gate.enter()
        return super().label(png)


@contextmanager
def gated(folder: Path, name: str, *, fields: str = "") -> Iterator[Gate]:
    """Serve one of the desk's ONNX files as ``api.toml``, one request at a time."""
    manifest = audited_contents().manifest
    contract, names = manifest.preprocessing, manifest.task.class_names
    classifier = GatedClassifier(
        folder / f"{name}.onnx", names, mean=contract.mean, std=contract.std
    )
    classifier.gate = gate = Gate()
    with _Server(0, classifier, 0.0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        write_patient_endpoint(folder / "api.toml", server.server_address[1], fields=fields)
        try:
            yield gate
        finally:
            gate.open()
            server.shutdown()


def write_patient_endpoint(path: Path, port: int, *, fields: str = "") -> None:
    """Write the endpoint file of a server that may take its time."""
    write_endpoint_file(path, port, audited_contents().manifest.task.class_names)
    text = path.read_text().replace("timeout_s = 10", f"timeout_s = {PATIENT_S}")
    path.write_text(text.replace("concurrency = 4", f"concurrency = 1\n{fields}"))
