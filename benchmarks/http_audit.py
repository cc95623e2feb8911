"""One audit of an endpoint in a process of its own: how fast, how much memory, how much computing.

    python -m benchmarks.http_audit ENDPOINT.toml NUM_QUESTIONS [LABELS]

Prints JSON. The labels are the right ones of the control images, with commas; else class 0 is.
"""

import dataclasses
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.http.opening import open_endpoint
from audit.asking.events import Answered
from audit.asking.session import AuditSession
from audit.journal.journal import Journal
from benchmarks.plain_bundle import plain_bundle


@dataclass(frozen=True, kw_only=True)
class AuditSpeed:
    """What an audit's process told."""

    per_second: float
    cpu_us: float
    """Processor time of a request, in user and system, microseconds."""
    mib: float
    """Largest resident memory."""


def audit_speed(
    endpoint: Path, num_questions: int, control_labels: Sequence[int] | None = None
) -> AuditSpeed:
    """Audit in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.http_audit", str(endpoint), str(num_questions)]
    if control_labels is not None:
        command.append(",".join(map(str, control_labels)))
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return AuditSpeed(**json.loads(done.stdout))


def main() -> int:
    """Audit, and print what it took."""
    path, num_questions = Path(sys.argv[1]), int(sys.argv[2])
    bundle = plain_bundle(num_questions)
    if len(sys.argv) > 3:
        labels = np.array(sys.argv[3].split(","), dtype=np.int64)
        arrays = dataclasses.replace(bundle.arrays, control_labels=labels)
        bundle = dataclasses.replace(bundle, arrays=arrays)
    endpoint = open_endpoint(path, bundle_classes=bundle.manifest.task.class_names)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        session = AuditSession(bundle, endpoint, journal)
        cpu_s, started, ended = -_cpu_s(), time.perf_counter(), 0.0
        for event in session.run():
            # Made-up probabilities may make a suspect look odd, and then some are asked again.
            if isinstance(event, Answered) and event.num_answered == num_questions:
                cpu_s, ended = cpu_s + _cpu_s(), time.perf_counter()
        journal.close()
    endpoint.close()
    assert ended, f"not all of {num_questions} questions were asked"
    told = AuditSpeed(
        per_second=num_questions / (ended - started),
        cpu_us=1e6 * cpu_s / num_questions,
        mib=_peak_mib(),
    )
    print(json.dumps(dataclasses.asdict(told)))
    return 0


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    # getrusage would count what the parent had when it started this process.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return math.nan


if __name__ == "__main__":
    sys.exit(main())
