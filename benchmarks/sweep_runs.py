"""One sweep in a process of its own, measured: alone on some cores, or beside others.

A sweep's figures are of the time from the first tenth of its results to the last, so that how long
workers take to start does not count.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.signing.keys import PrivateKey, Trust
from audit.sweep.engine import Engine
from audit.sweep.listing import read_bundles
from audit.sweep.process_engine import ProcessEngine
from audit.sweep.run import JOURNAL, PairDone, Progressed, Sweep, SweepBundle
from audit.sweep.tasks import SweepSettings

PAUSE_S = 5.0
"""Before each run, so that what others wait for is not starved, and the last run's end is over."""
KEY = PrivateKey.from_seed(bytes(range(32)))
SETTINGS = SweepSettings(device="cpu", num_threads=1)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one sweep is to do."""

    num: int
    """Suspects."""
    engine: str = "processes"
    """``processes`` or ``dask``."""
    workers: int = 2
    cores: tuple[int, ...] = (0, 1)
    """Which of this machine's cores it may use, with all its processes."""
    start: int = 0
    """The first suspect's number."""


def run_at_once(first: list[str], world: Path, orders: Sequence[Order]) -> list[dict[str, Any]]:
    """Run sweeps beside one another, each in a process of its own, so that its memory is its own.

    Args:
        first: What goes before the command.
        world: Folder of bundle and suspects.
        orders: The sweeps.

    Returns:
        Figures of each.
    """
    time.sleep(PAUSE_S)
    command = [*first, sys.executable, "-m", "benchmarks.sweep_runs", str(world)]
    running = []
    for order in orders:
        told = [order.num, order.engine, order.workers, ",".join(map(str, order.cores))]
        more = [*map(str, told), str(order.start)]
        running.append(subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True))
    rows: list[dict[str, Any]] = []
    try:
        for process in running:
            out, _ = process.communicate()
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, process.args)
            rows.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in running:
            process.kill()
    for row in rows:
        _print(row)
    return rows


def _print(row: dict[str, Any]) -> None:
    print(
        f"{row['suspects']:>6} suspects, {row['workers']} {row['engine']:<10} {row['cores']} cores "
        f"{1000 * row['seconds_per_pair']:7.1f} ms a pair"
        f" ({1000 * row['cpu_seconds_per_pair']:.1f} ms of CPU, of which the coordinator's "
        f"{1000 * row['coordinator_cpu_seconds_per_pair']:.1f}), "
        f"{row['coordinator_mb']:.0f} MB, journal {row['journal_bytes_per_pair'] / 1024:.0f} KiB",
        flush=True,
    )


def suspect_names(world: Path, num: int, start: int = 0) -> list[str]:
    """Return the paths of some suspects."""
    return [str(world / "suspects" / f"{start + number:05}.onnx") for number in range(num)]


def run_once(world: Path, order: Order) -> dict[str, Any]:
    """Sweep in this process, on the cores that it has.

    Returns:
        Seconds and CPU seconds per pair, the coordinator's memory, and the clock (seconds, the same
        for all processes of this machine) when counting began and ended.
    """
    num = order.num
    results = Path(tempfile.mkdtemp(prefix="sweep-", dir=world))
    trust = Trust(keys=(KEY.public_key,))
    bundles = [
        SweepBundle(path=path, data=data, contents=contents)
        for path, data, contents in read_bundles(world / "plain.kinprint", trust)
    ]
    listed = results / "list.toml"
    listed.write_text(f"suspects = {json.dumps(suspect_names(world, num, order.start))}\n")
    sweep = Sweep(results / "out", bundles, SETTINGS, trust)
    engine = _engine(sweep, order.engine, order.workers)
    num_done = num_at_first = 0
    memory: list[float] = []
    at_first = (0.0, 0.0)
    first = last = 0.0
    try:
        for event in sweep.run(listed, engine):
            if isinstance(event, PairDone):
                assert event.row.status == "asked", event.row.reason
                num_done += 1
                memory.append(_resident_mb())
            # Results that came together are counted together. The first ones wait until the workers
            # have started.
            elif isinstance(event, Progressed):
                last = time.monotonic()
                if not num_at_first and num_done > num // 10:
                    num_at_first, first, at_first = num_done, last, _spent()
        at_end = _spent()
    finally:
        engine.close()
        sweep.close()
    num_bytes = (results / "out" / JOURNAL).stat().st_size
    shutil.rmtree(results)
    num_counted = num_done - num_at_first
    own, below = (end - begun for begun, end in zip(at_first, at_end, strict=True))
    return {
        "suspects": num,
        "engine": order.engine,
        "workers": order.workers,
        "cores": len(os.sched_getaffinity(0)),
        "seconds_per_pair": (last - first) / num_counted,
        "cpu_seconds_per_pair": (own + below) / num_counted,
        "coordinator_cpu_seconds_per_pair": own / num_counted,
        "coordinator_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "coordinator_growth_mb": memory[-1] - memory[num // 5],
        "journal_bytes_per_pair": num_bytes / num,
        "counted_from": first,
        "counted_to": last,
    }


def _engine(sweep: Sweep, name: str, num_workers: int) -> Engine:
    if name == "processes":
        return ProcessEngine(sweep.parcel, num_workers, sweep.results)
    from audit.sweep.dask_engine import connect_locally

    return connect_locally(num_workers, sweep.parcel, sweep.results)


def _descendants(process: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found: set[int] = set()
    while more := {one for one, parent in parents.items() if parent in {process, *found}} - found:
        found |= more
    return found


def _spent() -> tuple[float, float]:
    """Return the CPU time of this process, and of all below it, seconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    below = sum(_cpu_s(process) for process in _descendants(os.getpid()))
    return own.ru_utime + own.ru_stime, below


def _cpu_s(process: int) -> float:
    """Return the CPU time of a process and of those that it has waited for, seconds."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Run one sweep as `run_at_once` orders it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("num", type=int)
    parser.add_argument("engine")
    parser.add_argument("workers", type=int)
    parser.add_argument("cores")
    parser.add_argument("start", type=int)
    told = parser.parse_args()
    cores = tuple(map(int, told.cores.split(",")))
    own = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [own[core] for core in cores])
    order = Order(
        num=told.num, engine=told.engine, workers=told.workers, cores=cores, start=told.start
    )
    print(json.dumps(run_once(told.world, order)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
