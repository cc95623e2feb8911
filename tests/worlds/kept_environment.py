"""Virtual environments that take a minute or more to build: built on first use and kept.

They lie in the user's cache. The name of each holds a digest of what it is made from, so that a
change of that builds a new one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_TIMEOUT_S = 600


class BuildError(Exception):
    """An environment could not be built; the message ends in what pip said."""


@contextmanager
def kept_environment(
    kind: str,
    name: str,
    *,
    made_from: bytes,
    arguments: Sequence[str | Path],
    base: Path | None = None,
) -> Iterator[Path]:
    """Give the Python of an environment, which nobody else uses within the ``with`` block.

    Args:
        kind: Names the folder in the cache; the variable ``KINPRINT_TEST_KIND`` names another.
        name: Begins the environment's own folder.
        made_from: What it depends on besides the Python: pinned versions.
        arguments: Of ``pip install``.
        base: Python to make it from; the one that runs where absent.

    Raises:
        BuildError: pip could not install it.
    """
    base = (base or Path(sys.executable)).resolve()  # whichever environment it runs in
    what = str(base).encode() + made_from
    stem = f"{name}-{hashlib.sha256(what).hexdigest()[:12]}"
    folder = _environments(kind) / stem
    python, ready = folder / "bin" / "python", folder / ".ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once build it once
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            started = time.monotonic()
            _run(stem, [base, "-m", "venv", folder])
            pip_install(python, *arguments)
            ready.write_text(f"{time.monotonic() - started:.0f} s\n")
        yield python


def pip_install(python: Path, *arguments: str | Path) -> None:
    """Install into an environment.

    Raises:
        BuildError: pip could not.
    """
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", *arguments]
    _run(python.parents[1].name, command)


def _environments(kind: str) -> Path:
    named = os.environ.get(f"KINPRINT_TEST_{kind.upper()}")
    return Path(named) if named else platformdirs.user_cache_path(f"kinprint-test-{kind}")


def _run(name: str, command: Sequence[str | Path]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"the environment {name} was not built within {_TIMEOUT_S} s") from None
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise BuildError(f"the environment {name} cannot be built\n{said}")
