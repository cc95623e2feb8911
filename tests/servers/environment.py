"""Virtual environments of the servers, built on first use and kept.

They lie in the user's cache (``KINPRINT_TEST_SERVERS`` names another folder); the name of each
holds a digest of its pinned requirements, so that a change of them builds a new one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
_BUILD_TIMEOUT_S = 600


class BuildError(Exception):
    """An environment could not be built; the message says how to see why."""


def environments_folder() -> Path:
    """Return where the environments lie."""
    named = os.environ.get("KINPRINT_TEST_SERVERS")
    return Path(named) if named else platformdirs.user_cache_path("kinprint-test-servers")


def server_python(name: str) -> Path:
    """Return the Python of a server's environment, built if it is not there.

    Args:
        name: Of a file ``requirements/NAME.txt``.

    Raises:
        BuildError: pip could not install it.
    """
    requirements = HERE / "requirements" / f"{name}.txt"
    what = f"{sys.version_info[:2]}{sys.prefix}".encode() + requirements.read_bytes()
    folder = environments_folder() / f"{name}-{hashlib.sha256(what).hexdigest()[:12]}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once build it once
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            started = time.monotonic()
            _run(name, [sys.executable, "-m", "venv", str(folder)])
            # The list is complete: nothing is resolved, and nothing else can get in.
            install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
            _run(name, [*install, "--requirement", str(requirements)])
            ready.write_text(f"{time.monotonic() - started:.0f} s\n")
    return python


def _run(name: str, command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"the environment of the server {name} was not built within {_BUILD_TIMEOUT_S} s"
        ) from None
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise BuildError(
            f"the environment of the server {name} cannot be built: these tests run a real one, "
            f"and need a package index with all that tests/servers/requirements/{name}.txt "
            f"lists\n{said}"
        )
