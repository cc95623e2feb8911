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
from worlds.terminal import Terminal
from worlds.tiny_world import TinyWorld, make_tiny_world

LONG = ("test_demo.py", "test_arena.py", "test_servers.py", "test_references.py")
"""Files that take minutes: begun first, so that nobody waits for the last of them alone."""

atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    folder: Path = tmp_path_factory.mktemp("tiny-world")
    return make_tiny_world(folder)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(name) if (name := item.path.name) in LONG else len(LONG))
