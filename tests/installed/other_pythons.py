"""Finds the CPythons of this machine that could run Kinprint."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

from installed.distribution import CHECKOUT

_MINORS = range(30)
# A shim of pyenv may name a version that is not switched on, Debian's Python may lack venv.
_IS_USABLE = "import ensurepip, sys, venv; assert sys.implementation.name == 'cpython'"


def other_pythons() -> dict[int, Path]:
    """Return by its minor version each usable CPython 3 that is allowed and is not ours."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    allowed = SpecifierSet(tomllib.loads(text)["project"]["requires-python"])
    return {
        minor: python
        for minor in _MINORS
        if minor != sys.version_info.minor and f"3.{minor}" in allowed
        for python in _candidates(minor)[:1]
    }


def _candidates(minor: int) -> list[Path]:
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"))
    on_path = shutil.which(name)
    if on_path is not None:
        found.append(Path(on_path))
    return [python for python in found if _is_usable(python)]


def _is_usable(python: Path) -> bool:
    done = subprocess.run([python, "-c", _IS_USABLE], capture_output=True, timeout=60)
    return done.returncode == 0
