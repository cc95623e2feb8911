import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Tiny networks are faster on one thread, and torch reads this when it is first imported.
os.environ["OMP_NUM_THREADS"] = "1"
# No test touches the journal, the trusted keys or the settings of whoever runs it.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="kinprint-tests-")
os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_DATA_HOME"]

import pytest
from worlds.screens.terminal import Terminal
from worlds.tiny_world import TinyWorld, copied_tiny_world

SLOWEST = (
    *("test_arena.py", "test_demo.py", "test_start_guide.py", "test_servers.py"),
    *("test_hostile_names.py", "test_ranks.py", "test_ui_live.py", "test_references.py"),
    *("test_ui_snapshots.py", "test_cli_craft.py", "test_sweep_cluster.py"),
    *("test_cluster_workers.py", "test_cli_audit.py", "test_ui_audit.py", "test_ui_home.py"),
    *("test_sweep_processes.py", "test_onnx_reading.py", "test_http_endpoint.py"),
)
"""Files that take longest: begun first, so that nobody waits for the last of them alone."""

atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    own: Path = tmp_path_factory.getbasetemp()
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    return copied_tiny_world(own.parent if is_one_of_several else own, own / "own-tiny-world")


@pytest.fixture(autouse=True)
def begun_at_the_first_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let audits begin at the first query, so that a test can say which one comes next."""
    monkeypatch.setattr("audit.asking.session.draw_start", lambda num_queries: 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(SLOWEST)))
