"""Builds what would be published, from a copy of the checkout as people have it."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("adapters", "audit", "generator", "kinprint-stubs")
_LEFT_BEHIND = (".git", ".venv", ".*_cache", "*.egg-info", "build", "dist", "demo-*", "shared")
_LITTER = (
    "audit/__pycache__/errors.cpython-311.pyc",
    "audit/tui/__pycache__/app.cpython-311.pyc",
    "docs/__pycache__/screenshots.cpython-311.pyc",
    "shared/data/images.zip",
    "tests/__pycache__/conftest.cpython-311.pyc",
    "tests/data/owner.key",
)
"""What working in a checkout leaves there, and nobody else should get."""


@dataclass(frozen=True)
class Distribution:
    """A source distribution, and the wheel that was built from it."""

    source: Path
    """The copy of the checkout, with litter."""
    sdist: Path
    wheel: Path

    def package_files(self) -> dict[str, bytes]:
        """Return the source's packages and its module, without caches."""
        found = [path for name in PACKAGES for path in (self.source / name).rglob("*")]
        return {
            path.relative_to(self.source).as_posix(): path.read_bytes()
            for path in [*found, self.source / "kinprint.py"]
            if path.is_file() and "__pycache__" not in path.parts
        }

    def wheel_files(self) -> dict[str, bytes]:
        """Return what the wheel holds, without what pip has to know."""
        with zipfile.ZipFile(self.wheel) as archive:
            return {
                name: archive.read(name)
                for name in archive.namelist()
                if not name.partition("/")[0].endswith(".dist-info")
            }

    def metadata(self) -> str:
        """Return the wheel's METADATA."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
            return archive.read(name).decode()

    def sdist_files(self) -> set[str]:
        """Return what the source distribution holds, without what was generated for it."""
        with tarfile.open(self.sdist) as archive:
            names = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
        return {
            name
            for name in names
            if name not in ("PKG-INFO", "setup.cfg") and not name.startswith("kinprint.egg-info/")
        }


def build(folder: Path) -> Distribution:
    """Build both into a folder.

    Raises:
        RuntimeError: It failed; the message ends in what was said.
    """
    source, out = folder / "kinprint", folder / "dist"
    shutil.copytree(CHECKOUT, source, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
    for name in _LITTER:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", out, source],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"the distribution cannot be built:\n{done.stdout}\n{done.stderr}")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Distribution(source=source, sdist=sdist, wheel=wheel)
