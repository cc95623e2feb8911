"""The label-only server of the demo, in a process of its own, asked as any endpoint is."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from adapters.http.opening import open_endpoint
from adapters.http.suspect import HttpEndpoint
from adapters.suspect import Capability, SuspectConfigError, SuspectUnreachableError
from generator.demo.server import RunningServer, start_server, write_endpoint_file
from generator.errors import GenerationError

COLOURS = ["red", "green", "blue"]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a classifier whose logits are the mean of each colour."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    mean = helper.make_node("ReduceMean", ["image"], ["logits"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([mean], "colours", [image], [logits])
    opset = helper.make_opsetid("", 13)
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[RunningServer]:
    with start_server(model_path, COLOURS) as running:
        yield running


@pytest.fixture
def endpoint(server: RunningServer, tmp_path: Path) -> Iterator[HttpEndpoint]:
    path = tmp_path / "endpoint.toml"
    write_endpoint_file(path, server.port, COLOURS)
    suspect = open_endpoint(path, bundle_classes=COLOURS)
    yield suspect
    suspect.close()


def test_every_image_gets_its_own_label_from_four_threads(endpoint: HttpEndpoint) -> None:
    images = np.random.default_rng(3).integers(0, 256, (60, 1, 32, 32, 3), dtype=np.uint8)
    expected = images.mean(axis=(1, 2, 3)).argmax(axis=1)  # [N, 1, H, W, C] -> [N, C] -> [N]
    with ThreadPoolExecutor(endpoint.concurrency) as threads:
        answers = list(threads.map(endpoint.predict, images))
    assert [int(answer.labels[0]) for answer in answers] == expected.tolist()
    assert all(answer.log_probabilities is None for answer in answers)


def test_it_tells_labels_only(endpoint: HttpEndpoint) -> None:
    assert endpoint.capability is Capability.LABELS
    assert endpoint.batch_size == 1
    assert endpoint.identity.kind == "endpoint"


def test_the_mean_and_deviation_are_applied(model_path: Path, tmp_path: Path) -> None:
    # All pixels 0.5: (0.5 - mean) / std is 0.0, 1.0 and 0.25, so that the second class wins.
    mean, std = (0.5, 0.4, 0.0), (1.0, 0.1, 2.0)
    with start_server(model_path, COLOURS, mean=mean, std=std) as running:
        write_endpoint_file(tmp_path / "endpoint.toml", running.port, COLOURS)
        endpoint = open_endpoint(tmp_path / "endpoint.toml")
        grey = np.full((1, 32, 32, 3), 128, dtype=np.uint8)
        assert endpoint.predict(grey).labels.tolist() == [1]
        endpoint.close()


def test_an_image_of_another_size_is_refused_in_words(endpoint: HttpEndpoint) -> None:
    with pytest.raises(SuspectConfigError, match=r"status 400 .*expected 32x32, got 16x16"):
        endpoint.predict(np.zeros((1, 16, 16, 3), dtype=np.uint8))


def test_nobody_answers_after_the_with_block(model_path: Path, tmp_path: Path) -> None:
    with start_server(model_path, COLOURS) as running:
        write_endpoint_file(tmp_path / "endpoint.toml", running.port, COLOURS)
    path = tmp_path / "endpoint.toml"
    path.write_text("retries = 0\n" + path.read_text())
    endpoint = open_endpoint(path)
    with pytest.raises(SuspectUnreachableError, match="Connection refused"):
        endpoint.predict(np.zeros((1, 32, 32, 3), dtype=np.uint8))
    endpoint.close()


def test_a_model_that_does_not_load_is_reported_with_what_the_server_said(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with (
        pytest.raises(GenerationError, match=r"demo server: expected it to be .*broken.onnx"),
        start_server(path, COLOURS),
    ):
        pass


def test_a_wrong_number_of_classes_is_reported(model_path: Path) -> None:
    with (
        pytest.raises(GenerationError, match="expected 3 names, one per output, got 2"),
        start_server(model_path, COLOURS[:2]),
    ):
        pass


def test_the_server_dies_with_a_parent_that_is_killed(model_path: Path) -> None:
    program = f"""
        import os, signal
        from pathlib import Path
        from generator.demo.server import start_server
        with start_server(Path({str(model_path)!r}), {COLOURS!r}) as running:
            print(running.process_id, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    server_id = int(parent.stdout)
    while _is_running(server_id):
        time.sleep(0.02)


def test_the_server_never_imports_torch() -> None:
    program = "import sys, generator.demo.server; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert found.stdout.strip() == "False"


def _is_running(process_id: int) -> bool:
    """Tell whether the process is alive; one that waits to be reaped is not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    state_path = Path(f"/proc/{process_id}/stat")
    if state_path.exists():
        return state_path.read_text().rpartition(")")[2].split()[0] != "Z"
    return True
