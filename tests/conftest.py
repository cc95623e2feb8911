import os
import tempfile
from pathlib import Path

# Tiny networks are faster on one thread, and torch reads this when it is first imported.
os.environ["OMP_NUM_THREADS"] = "1"
# The journal, the trusted keys and the settings of whoever runs the tests are none of their business.
_HOME = tempfile.TemporaryDirectory(prefix="kinprint-tests-")
for _name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
    os.environ[_name] = _HOME.name

import pytest
from tiny_world import TinyWorld, make_tiny_world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    folder: Path = tmp_path_factory.mktemp("tiny-world")
    return make_tiny_world(folder)
