"""Where benchmark results go, and what machine they were measured on."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, str | int]:
    """Describe the machine without naming it."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the short name has to do
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "system": platform.system(),
        "python": sys.version.split()[0],
    }


def write_results(name: str, settings: Mapping[str, object], rows: object) -> Path:
    """Write ``benchmarks/results/<name>.json`` and return its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"settings": dict(settings), "machine": machine(), "results": rows}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
