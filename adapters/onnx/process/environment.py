"""The environment of a suspect's process: what finds our packages, and nothing that is secret."""

import os
import sys
from pathlib import Path

KEPT_VARIABLES = ("SYSTEMROOT", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_PATH")
"""All that the process gets of our environment: none of them holds a secret."""


def clean_environment() -> dict[str, str]:
    """Return an environment without credentials that finds the same packages as we do."""
    # Named here because the process is told (-P) to import nothing from its working folder, where
    # the stranger's file lies.
    package_root = str(Path(__file__).resolve().parents[3])
    paths = [package_root, *(path for path in sys.path if path and Path(path).is_absolute())]
    return {
        **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "LANG": "C.UTF-8",
        # Each arena reserves 64 MB of address space, and that is limited.
        "MALLOC_ARENA_MAX": "2",
        # numpy's own threads have nothing to do there; onnxruntime has its own.
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_CACHE_DISABLE": "1",
        # From 1.29 on, onnxruntime tells its maker names and digests of the models that it loads,
        # by a thread that also makes forking unsafe.
        "ORT_DISABLE_TELEMETRY": "1",
    }
