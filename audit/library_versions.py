"""Which versions asked and judged: part of the evidence, because numbers come from libraries."""

import importlib.metadata
import platform
from functools import cache

_DISTRIBUTIONS = ("kinprint", "numpy", "scipy", "onnxruntime-gpu", "onnxruntime", "requests")


def environment_versions() -> dict[str, str]:
    """Return versions by name: Python, the machine's kind, and the libraries that matter."""
    return dict(_versions())


@cache  # looking them up takes as long as asking a small file some questions
def _versions() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
