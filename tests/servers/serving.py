"""Starts each kind of server with an ONNX classifier on loopback, in its own environment."""

import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import requests

from servers.environment import server_python
from servers.running import answers, free_ports, running

HERE = Path(__file__).parent

GRPC_PORT = "grpc_port"
"""File of the folder that names the second port of a server which speaks gRPC, too."""

Serving = Callable[[Path, Path], AbstractContextManager[int]]
"""Serves a model, with a folder to work in; gives the port."""


@contextmanager
def bentoml(model: Path, folder: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    command: list[str | Path] = [
        server_python("bentoml"),
        "-m",
        "bentoml",
        "serve",
        "serve_bentoml:Classifier",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--working-dir", HERE]
    with running(
        command,
        log_path=folder / "bentoml.log",
        is_ready=answers(f"http://127.0.0.1:{port}/readyz"),
        environment={
            "MODEL_PATH": str(model),
            "BENTOML_HOME": str(folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        },
        folder=folder,
    ):
        yield port


@contextmanager
def kserve(model: Path, folder: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    with running(
        [server_python("kserve"), HERE / "serve_kserve.py", model, str(port)],
        log_path=folder / "kserve.log",
        is_ready=answers(f"http://127.0.0.1:{port}/v2/models/suspect/ready"),
        folder=folder,
    ):
        yield port


@contextmanager
def triton(model: Path, folder: Path) -> Iterator[int]:
    port, grpc_port = free_ports(2)
    (folder / GRPC_PORT).write_text(str(grpc_port))
    with running(
        [server_python("triton"), HERE / "serve_triton.py", model, str(port), str(grpc_port)],
        log_path=folder / "triton.log",
        is_ready=answers(f"http://127.0.0.1:{port}/v2/models/suspect/ready"),
        # Its stub needs the library of the Python that its environment was made with.
        environment={"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
        folder=folder,
    ):
        yield port


@contextmanager
def torchserve(model: Path, folder: Path) -> Iterator[int]:
    python = server_python("torchserve")
    archiver = [python, "-m", "model_archiver.model_packaging", "--model-name", "suspect"]
    archiver += ["--version", "1.0", "--handler", HERE / "torchserve_handler.py"]
    shutil.copy(model, folder / "model.onnx")
    archiver += ["--extra-files", folder / "model.onnx", "--export-path", folder]
    subprocess.run(list(map(str, archiver)), check=True, capture_output=True)
    port, management, metrics, grpc, grpc_management = free_ports(5)
    properties = folder / "config.properties"
    properties.write_text(
        f"inference_address=http://127.0.0.1:{port}\n"
        f"management_address=http://127.0.0.1:{management}\n"
        f"metrics_address=http://127.0.0.1:{metrics}\n"
        "grpc_inference_address=127.0.0.1\ngrpc_management_address=127.0.0.1\n"
        f"grpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
        "default_workers_per_model=1\nnumber_of_netty_threads=1\ndisable_token_authorization=true\n"
    )
    command: list[str | Path] = [python.with_name("torchserve"), "--start", "--foreground", "--ncs"]
    command += ["--model-store", folder, "--models", "suspect=suspect.mar"]
    command += ["--ts-config", properties]
    path = f"{python.parent}:/usr/local/bin:/usr/bin:/bin"
    with running(
        command,
        log_path=folder / "torchserve.log",
        is_ready=lambda: _has_ready_worker(f"http://127.0.0.1:{management}/models/suspect"),
        environment={"PATH": path, "LOG_LOCATION": str(folder), "METRICS_LOCATION": str(folder)},
        folder=folder,
    ):
        yield port


def _has_ready_worker(url: str) -> bool:
    try:
        return '"READY"' in requests.get(url, timeout=5).text
    except requests.RequestException:
        return False


SERVERS: dict[str, Serving] = {
    "bentoml": bentoml,
    "kserve": kserve,
    "triton": triton,
    "torchserve": torchserve,
}
