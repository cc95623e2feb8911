"""Code that has taken over a suspect's process finds nothing to read, write, ask or start."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from worlds.onnx_builders import brightest_channel, colors, save
from worlds.takeover.attack import GROUPS

from adapters.onnx import model as onnx_model
from adapters.onnx.model import load_model
from adapters.onnx.opening import adapt_model, open_onnx
from adapters.onnx.process import fork_client, landlock, parent
from adapters.onnx.process.fork_client import ForkServer
from adapters.onnx.process.limits import OnnxLimits
from adapters.onnx.process.system_calls import COLUMNS, number_of
from adapters.onnx.sandbox_check import SandboxError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="attacks Linux")

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).resolve().parents[1]

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


@dataclass(frozen=True, kw_only=True)
class Home:
    """What an attacker would like to have."""

    folder: Path
    targets: dict[str, Any]
    """For `worlds.takeover.attack.attempts`."""

    def state(self) -> dict[str, tuple[int, float, bytes]]:
        """Return everything that an attacker could have changed."""
        return {
            path.name: (path.stat().st_mode, path.stat().st_mtime, path.read_bytes())
            for path in self.folder.iterdir()
            if stat.S_ISREG(path.stat().st_mode)
        }

    def file(self, path: Path) -> Path:
        """Write a classifier that carries the targets."""
        model = brightest_channel()
        onnx.helper.set_model_props(model, {"attack": json.dumps(self.targets)})
        return save(model, path)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "diary.txt").write_bytes(b"dear diary")
    (folder / "owner.key").write_bytes(b"tell-nobody-4711")
    (folder / "owner.key").chmod(0o600)
    with (
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.create_server(("127.0.0.1", 0)) as tcp,
    ):
        name = f"kinprint-test-{os.getpid()}"
        named.bind(str(folder / "agent.sock"))
        abstract.bind("\0" + name)
        named.listen()
        abstract.listen()
        targets = {
            "home": str(folder),
            "unix": str(folder / "agent.sock"),
            "abstract": name,
            "port": tcp.getsockname()[1],
            "parent": os.getpid(),
        }
        yield Home(folder=folder, targets=targets)


@pytest.fixture
def _taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "WORKER_MODULE", "worlds.takeover.worker")
    monkeypatch.setattr(fork_client, "SERVER_MODULE", "worlds.takeover.server")
    monkeypatch.syspath_prepend(TESTS)
    monkeypatch.setenv("VENDOR_KEY", "tell-nobody-4711")


@needs_landlock
@pytest.mark.usefixtures("_taken_over")
@pytest.mark.parametrize("is_forked", [False, True], ids=["afresh", "forked"])
def test_code_in_the_process_can_do_nothing(tmp_path: Path, home: Home, *, is_forked: bool) -> None:
    before = home.state()
    server = ForkServer() if is_forked else None
    model = load_model(
        home.file(tmp_path / "m.onnx"), device="cpu", limits=OnnxLimits(), server=server
    )
    with adapt_model(model) as suspect:
        assert json.loads(model.description.metadata["done"]) == []
        assert home.state() == before
        assert suspect.identity.details["sandbox"].startswith("full (landlock ")
        assert suspect.identity.details["network"] == "none"
        # And an ordinary file's work goes on as ever.
        assert suspect.predict(colors((255, 0, 0), (0, 250, 3))).labels.tolist() == [0, 1]
    if server is not None:
        server.close()


@needs_landlock
@pytest.mark.usefixtures("_taken_over")
def test_where_cuda_may_be_used_little_more_is_possible(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine with a device; the process itself finds none and answers on the CPU.
    monkeypatch.setattr(onnx_model, "has_nvidia_device", lambda: True)
    before = home.state()
    model = load_model(home.file(tmp_path / "m.onnx"), device="auto", limits=OnnxLimits())
    with adapt_model(model) as suspect:
        # Nothing of that reaches beyond the process.
        possible = set(json.loads(model.description.metadata["done"]))
        assert possible <= {"pair of sockets", "anonymous file"}
        assert home.state() == before
        details = suspect.identity.details
        assert details["sandbox"].startswith("partial (landlock ")
        assert details["sandbox"].endswith(
            "seccomp; a driver's system calls are open, memory has no limit)"
        )
        assert details["network"] == "none"
        assert suspect.predict(colors((255, 0, 0), (0, 250, 3))).labels.tolist() == [0, 1]


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from adapters.onnx.model import load_model
from adapters.onnx.opening import adapt_model
from adapters.onnx.process import parent
from adapters.onnx.process.limits import OnnxLimits
from worlds.onnx_builders import colors
from worlds.takeover.lesser_kernel import without
without(tuple(sys.argv[3].split(",")))
parent.WORKER_MODULE = "worlds.takeover.worker"
model = load_model(Path(sys.argv[2]), device="cpu", limits=OnnxLimits())
with adapt_model(model) as suspect:
    told = {"done": model.description.metadata["done"], **suspect.identity.details}
    told["labels"] = suspect.predict(colors((255, 0, 0), (0, 250, 3))).labels.tolist()
print(json.dumps(told))
"""


def attacked(home: Home, path: Path, missing: tuple[str, ...]) -> tuple[set[str], dict[str, Any]]:
    """Attack on a kernel that lacks some calls; return what was possible, and what was said."""
    command = [sys.executable, "-c", SCRIPT, str(TESTS), str(home.file(path)), ",".join(missing)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return set(json.loads(told["done"])), told


def can_leave() -> bool:
    """Return whether this system lets a process have a user namespace of its own."""
    script = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x50020000) != 0)"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.skipif(not can_leave(), reason="this system gives nobody a user namespace")
def test_without_landlock_its_folder_is_all_there_is(tmp_path: Path, home: Home) -> None:
    from worlds.takeover.lesser_kernel import LANDLOCK

    before = home.state()
    possible, told = attacked(home, tmp_path / "m.onnx", LANDLOCK)
    assert possible == set()
    assert home.state() == before
    assert told["sandbox"] == "full (own mounts, seccomp)"
    assert told["labels"] == [0, 1]


def test_without_landlock_and_namespaces_files_can_be_read_and_no_more(
    tmp_path: Path, home: Home
) -> None:
    from worlds.takeover.lesser_kernel import LANDLOCK, NAMESPACES

    before = home.state()
    possible, told = attacked(home, tmp_path / "m.onnx", (*LANDLOCK, *NAMESPACES))
    assert possible <= GROUPS["reading"] | GROUPS["parent"]
    assert "read a key" in possible
    assert home.state() == before
    assert told["sandbox"] == "partial (seccomp; files can be read)"
    assert told["network"] == "none"
    assert told["labels"] == [0, 1]


def test_a_required_sandbox_that_is_not_there_is_an_error_before_the_file_is_parsed(
    tmp_path: Path,
) -> None:
    from worlds.takeover.lesser_kernel import LANDLOCK, NAMESPACES

    path = tmp_path / "m.onnx"
    path.write_bytes(b"GIF89a, or so it says")
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from worlds.takeover.lesser_kernel import without\n"
        "from adapters.onnx.opening import open_onnx\n"
        "from adapters.onnx.process.limits import OnnxLimits\n"
        "without(tuple(sys.argv[3].split(',')))\n"
        "open_onnx(Path(sys.argv[2]), device='cpu', limits=OnnxLimits(require_sandbox=True))"
    )
    calls = ",".join((*LANDLOCK, *NAMESPACES))
    command = [sys.executable, "-c", script, str(TESTS), str(path), calls]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr.strip().splitlines()[-1] == (
        f"{SandboxError.__module__}.SandboxError: sandbox: expected to shut the suspect's process "
        "in fully, got partial (seccomp; files can be read); use Linux 5.13 or newer on x86_64 or "
        "aarch64 with Landlock, or allow user namespaces, or leave out --require-sandbox"
    )


@needs_landlock
def test_a_required_sandbox_that_is_there_is_none_of_the_users_business(tmp_path: Path) -> None:
    limits = OnnxLimits(require_sandbox=True)
    with open_onnx(
        save(brightest_channel(), tmp_path / "m.onnx"), device="cpu", limits=limits
    ) as suspect:
        assert suspect.predict(colors((0, 0, 9))).labels.tolist() == [2]


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", sorted(COLUMNS))
def test_numbers_of_calls_are_the_kernels(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    words = [line.split() for line in header.read_text().splitlines()]
    found = {
        name.replace("__NR3264", "__NR"): int(number)
        for directive, name, number, *_ in (line for line in words if len(line) >= 3)
        if directive == "#define" and name.startswith("__NR") and number.isdigit()
    }
    for name in ("openat", "clone", "prlimit64", "connect", "execve", "unlinkat", "fcntl", "mmap"):
        assert number_of(name, machine) == found[f"__NR_{name}"], name
