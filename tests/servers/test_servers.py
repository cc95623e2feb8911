"""Real model servers, each with a derived and an innocent classifier: the verdicts come out right.

BentoML and KServe run with ``make test-all``, Triton and TorchServe with ``make test-servers``. The
first run installs each into a virtual environment that is kept (tests/worlds/kept_environment.py).
"""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.kept_environment import BuildError
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents, copy_rule, innocent_rule
from worlds.servers.fault_proxy import PASSING, Fault, fault_proxy, is_quick

from audit.asking.second_questions import NUM_FIRST
from servers.classifiers import write_classifier
from servers.serving import GRPC_PORT, SERVERS

BUNDLE = audited_contents()
SUSPECTS = {"derived": (copy_rule, 0.02, 10), "innocent": (innocent_rule, 0.0, 0)}
"""Rule, noise on the weights, exit status."""

TENSOR = "[request.tensor]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n"
ENDPOINTS = {
    "bentoml": 'format = "bentoml"\nurl = "http://127.0.0.1:{port}/classify"\nconcurrency = 3\n'
    'retries = 20\nclass_names = ["0", "1", "2", "3"]\n'
    '[request]\nform = "multipart"\npart = "image"\n',
    "kserve V1": 'format = "kserve_v1"\nurl = "http://127.0.0.1:{port}/v1/models/suspect:predict"\n'
    f'[request]\nbatch_size = 8\n{TENSOR}layout = "NCHW"\n',
    "kserve V2": 'format = "open_inference_v2"\n'
    'url = "http://127.0.0.1:{port}/v2/models/suspect/infer"\n'
    f'[request]\nbatch_size = 8\ninput = "input"\ndatatype = "FP32"\nlayout = "NCHW"\n{TENSOR}',
    "triton V2": 'format = "open_inference_v2"\n'
    'url = "http://127.0.0.1:{port}/v2/models/suspect/infer"\n'
    f"[request]\nbatch_size = 8\nbinary = true\n{TENSOR}",
    "triton gRPC": 'format = "open_inference_grpc"\n'
    'url = "http://127.0.0.1:{grpc_port}"\nmodel = "suspect"\n'
    f"[request]\nbatch_size = 8\n{TENSOR}",
    "triton labels": 'format = "triton_classification"\n'
    'url = "http://127.0.0.1:{port}/v2/models/suspect/infer"\n'
    f'[request]\nbatch_size = 8\n{TENSOR}[answer]\nclasses = 1\nlabel = "index"\n',
    "torchserve": 'format = "torchserve"\nurl = "http://127.0.0.1:{port}/predictions/suspect"\n'
    'class_names = ["class_0", "class_1", "class_2", "class_3"]\n',
}
OF_SERVER = {
    "bentoml": ("bentoml",),
    "kserve": ("kserve V1", "kserve V2"),
    "triton": ("triton V2", "triton gRPC", "triton labels"),
    "torchserve": ("torchserve",),
}
"""Which of them each server answers."""


def audit(
    folder: Path, name: str, port: int, *, is_patient: bool = False
) -> tuple[int, dict[str, Any], Path]:
    """Audit an endpoint; return exit status, document and journal.

    A patient audit asks one image at a time and again and again.
    """
    stem = f"{name.replace(' ', '-')}{'-patient' if is_patient else ''}"
    path, journal = folder / f"{stem}.toml", folder / f"{stem}.sqlite"
    second = folder / GRPC_PORT
    grpc_port = second.read_text() if second.exists() else None
    text = ENDPOINTS[name].format(port=port, grpc_port=grpc_port)
    if is_patient:
        text = "retries = 30\nstop_after_failures = 1000\n" + text.replace("batch_size = 8\n", "")
    path.write_text(text, encoding="utf-8")
    arguments = ["audit", GOLDEN_BUNDLE, "--trust", GOLDEN_PUBLIC_KEY, "--endpoint", path]
    arguments += ["--journal", journal, "--json", "--ask-all"]
    done = subprocess.run(
        [sys.executable, "-m", "kinprint", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), journal


@pytest.mark.timeout(1800)  # the first run installs them
@pytest.mark.parametrize("suspect", SUSPECTS)
@pytest.mark.parametrize(
    "server",
    [
        pytest.param("bentoml", marks=pytest.mark.long),
        pytest.param("kserve", marks=pytest.mark.long),
        pytest.param("triton", marks=pytest.mark.servers),
        pytest.param("torchserve", marks=pytest.mark.servers),
    ],
)
def test_verdicts_come_out_right_through_a_real_server(
    tmp_path: Path, server: str, suspect: str
) -> None:
    if server == "torchserve" and shutil.which("java") is None:
        pytest.skip("TorchServe is a Java program, and there is no java on this machine")
    rule, noise, status = SUSPECTS[suspect]
    model = write_classifier(tmp_path / "suspect.onnx", BUNDLE, rule, noise=noise)
    try:
        with SERVERS[server](model, tmp_path) as port:
            for name in OF_SERVER[server]:
                found, document, journal = audit(tmp_path, name, port)
                assert found == status, (name, document)
                assert document["audits"][0]["outcome"]["control"]["accuracy"] == 1.0
                if name == "bentoml":
                    _check_its_429(journal, num_asked(status))
                if server == "kserve":
                    _check_behind_faults(tmp_path, name, port, status)
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


NUM_QUESTIONS = 32
"""Control images and queries of the bundle."""


def num_asked(status: int) -> int:
    """Return how many answers an audit takes: who is cleared gives the first ones twice."""
    return NUM_QUESTIONS + (NUM_FIRST if status == 0 else 0)


def _check_its_429(journal: Path, num: int) -> None:
    """BentoML answered one request at a time and sent the others away; no answer was lost."""
    with closing(sqlite3.connect(journal)) as database:
        statuses = Counter(database.execute("SELECT status, result FROM attempts").fetchall())
        (answered,) = database.execute("SELECT COUNT(*) FROM answers").fetchone()
    assert statuses[(200, "answered")] == answered == num
    assert statuses[(429, "later")] > 0
    assert sum(statuses.values()) == num + statuses[(429, "later")]


def _check_behind_faults(folder: Path, name: str, port: int, status: int) -> None:
    """Every second answer is spoiled in another way, and nothing of that gets into the verdict."""
    quick = [fault for fault in PASSING.values() if is_quick(fault)]
    if name == "kserve V2":
        quick.append(Fault(change=lambda body: re.sub(rb'"id": ?"[^"]*"', b'"id":"other"', body)))
    faults = dict(zip(range(0, 2 * len(quick), 2), quick, strict=True))
    with fault_proxy(port, faults.get) as proxy:
        found, document, journal = audit(folder, name, proxy.port, is_patient=True)
        assert proxy.num_requests > 2 * len(quick)
    assert found == status, document
    with closing(sqlite3.connect(journal)) as database:
        statuses = Counter(database.execute("SELECT result FROM attempts").fetchall())
    assert statuses[("answered",)] == num_asked(status)
    assert statuses[("failed",)] >= 10
    assert statuses[("later",)] == 4  # 429 and 503, with seconds and with a date
