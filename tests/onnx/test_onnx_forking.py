"""A suspect's process that was forked from a ready one is as confined as one started afresh."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worlds.onnx_builders import brightest_channel, colors, endless_loop, memory_bomb, save

from adapters.onnx.model import load_model
from adapters.onnx.opening import adapt_model, open_onnx
from adapters.onnx.process.fork_client import ForkServer, can_fork
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.suspect import OnnxSuspect
from adapters.suspect import SuspectError

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system starts processes afresh")

ROOT = Path(__file__).resolve().parents[2]
COLORS = colors((255, 0, 0), (0, 250, 3), (9, 9, 200), (120, 119, 0))


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    started = ForkServer()
    yield started
    started.close()


@pytest.fixture
def own() -> Iterator[ForkServer]:
    started = ForkServer()
    yield started
    started.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(brightest_channel(), tmp_path / "model.onnx")


def forked(path: Path, server: ForkServer, limits: OnnxLimits | None = None) -> OnnxSuspect:
    model = load_model(
        path, device="cpu", limits=limits or OnnxLimits(), num_threads=1, server=server
    )
    try:
        return adapt_model(model)
    except BaseException:
        model.close()
        raise


def limits_of(process: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_forked_suspect_answers_like_one_started_afresh(path: Path, server: ForkServer) -> None:
    with open_onnx(path, device="cpu") as afresh, forked(path, server) as other:
        first, second = afresh.predict(COLORS), other.predict(COLORS)
    assert first.labels.tolist() == second.labels.tolist() == [0, 1, 2, 0]
    assert first.log_probabilities is not None
    assert second.log_probabilities is not None
    assert first.log_probabilities.tobytes() == second.log_probabilities.tobytes()


def test_it_has_the_same_limits_and_the_same_network(path: Path, server: ForkServer) -> None:
    with open_onnx(path, device="cpu") as afresh, forked(path, server) as other:
        first, second = limits_of(afresh.process_id), limits_of(other.process_id)
        for name in ("Max file size", "Max core file size", "Max address space"):
            assert first[name] == second[name], name
        assert second["Max file size"] == ["0", "0"]
        assert second["Max address space"][0] != "unlimited"
        assert second["Max cpu time"][0] != "unlimited"
        told = ("network", "sandbox")
        said = [[each.identity.details[name] for name in told] for each in (afresh, other)]
        assert said[0] == said[1]
        spaces = [os.readlink(f"/proc/{each.process_id}/ns/net") for each in (afresh, other)]
        # Each in one of its own, where the system gives any.
        assert len({*spaces, os.readlink("/proc/self/ns/net")}) in (1, 3)


def test_nothing_runs_in_the_server_beside_what_forks(path: Path, server: ForkServer) -> None:
    # A thread that is at work during a fork leaves the child with locks that nobody opens;
    # onnxruntime's own one would also tell its maker about the suspects.
    with forked(path, server) as suspect:
        assert len(os.listdir(f"/proc/{server.process_id}/task")) == 1
        assert suspect.predict(COLORS).labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("is_forked", [False, True])
def test_the_runtime_tells_nobody_about_suspects(
    path: Path, server: ForkServer, *, is_forked: bool
) -> None:
    with forked(path, server) if is_forked else open_onnx(path, device="cpu") as suspect:
        # A forked process has its server's environment.
        process = server.process_id if is_forked else suspect.process_id
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        assert b"ORT_DISABLE_TELEMETRY=1" in environment


def test_no_secret_of_ours_is_in_its_environment_or_memory(
    path: Path, own: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "tell-nobody-4711")
    with forked(path, own) as suspect:
        environment = Path(f"/proc/{suspect.process_id}/environ").read_bytes()
        descriptors = os.listdir(f"/proc/{suspect.process_id}/fd")
        links = [os.readlink(f"/proc/{suspect.process_id}/fd/{one}") for one in descriptors]
    assert b"4711" not in environment
    assert b"PYTHONPATH" in environment
    # The way to the server is not for suspects.
    assert not [link for link in links if link.startswith("socket:")]


def test_a_bomb_and_a_loop_end_in_the_same_errors(tmp_path: Path, server: ForkServer) -> None:
    with pytest.raises(SuspectError, match="more memory than it is allowed"):
        forked(save(memory_bomb(), tmp_path / "bomb.onnx"), server)
    with pytest.raises(SuspectError, match=r"did not answer within 1 s and was ended"):
        forked(
            save(endless_loop(), tmp_path / "loop.onnx"),
            server,
            OnnxLimits(predict_timeout_s=1.0),
        )


def test_a_suspect_that_is_killed_is_an_error_and_the_next_one_works(
    path: Path, server: ForkServer
) -> None:
    with forked(path, server) as suspect:
        os.kill(suspect.process_id, 9)
        with pytest.raises(SuspectError, match="was ended by SIGKILL"):
            suspect.predict(COLORS)
    with forked(path, server) as suspect:
        assert suspect.predict(COLORS).labels.tolist() == [0, 1, 2, 0]


def test_a_server_that_is_killed_takes_its_suspects_along_and_starts_anew(
    path: Path, own: ForkServer
) -> None:
    with forked(path, own) as suspect:
        assert own.process_id is not None
        process = suspect.process_id
        os.kill(own.process_id, 9)
        wait_until(lambda: is_gone(process))
        with pytest.raises(SuspectError, match="ended by SIGKILL"):
            suspect.predict(COLORS)
    with forked(path, own) as suspect:
        assert suspect.predict(COLORS).labels.tolist() == [0, 1, 2, 0]


def test_nothing_is_left_when_the_auditor_is_killed(path: Path) -> None:
    script = f"""
import json, sys, time
from pathlib import Path
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.model import load_model
server = ForkServer()
model = load_model(Path({str(path)!r}), device="cpu", limits=OnnxLimits(), server=server)
print(json.dumps([server.process_id, model.process.pid]), flush=True)
time.sleep(600)
"""
    auditor = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert auditor.stdout is not None
    processes = json.loads(auditor.stdout.readline())
    assert not any(map(is_gone, processes))
    auditor.kill()
    auditor.wait()
    auditor.stdout.close()
    for process in processes:
        wait_until(lambda process=process: is_gone(process))  # type: ignore[misc]


def test_closing_ends_server_and_suspects(path: Path, own: ForkServer) -> None:
    suspect = forked(path, own)
    processes = [own.process_id, suspect.process_id]
    own.close()
    assert all(process is not None and is_gone(process) for process in processes[:1])
    wait_until(lambda: is_gone(suspect.process_id))
    suspect.close()
