"""Kinprint as an auditor has it: the wheel and what it needs, in an environment of its own."""

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worlds.kept_environment import kept_environment, pip_install

from installed.distribution import CHECKOUT

CONSTRAINTS = CHECKOUT / "constraints.txt"
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Installation:
    """An environment with Kinprint, without extras."""

    python: Path

    @property
    def program(self) -> Path:
        """The command ``kinprint``."""
        return self.python.with_name("kinprint")

    def kinprint(self, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder, without a terminal."""
        return _run(folder, self.program, *arguments)

    def run_python(self, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run its Python in a folder."""
        return _run(folder, self.python, *arguments)


@contextmanager
def installed(wheel: Path, base: Path | None = None) -> Iterator[Installation]:
    """Install a wheel; what it needs is kept from one test run to the next.

    Args:
        wheel: Kinprint's.
        base: Python to use; the one that runs where absent.

    Raises:
        BuildError: pip could not.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = json.dumps([project["requires-python"], project["dependencies"]])
    with kept_environment(
        "installed",
        "kinprint",
        made_from=needs.encode() + CONSTRAINTS.read_bytes(),
        # Nobody's compiler takes part: an auditor may have none.
        arguments=["--only-binary", ":all:", "--constraint", CONSTRAINTS, wheel],
        base=base,
    ) as python:
        pip_install(python, "--no-index", "--no-deps", "--force-reinstall", wheel)
        yield Installation(python)


def clean_environment() -> dict[str, str]:
    """Return our environment without what would let a Python find the checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }


def _run(folder: Path, program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
