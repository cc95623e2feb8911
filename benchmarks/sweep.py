"""What a sweep costs: many small ONNX suspects and one bundle, on processes and on a Dask cluster.

    python -m benchmarks sweep [--suspects 1000] [--few 100]

Suspects are small convolutional networks, each another file, made on the fly. All figures are
ratios within one run, of the time from the first tenth of the results to the last. *Linearity* is
the time per suspect of many over that of few, also in CPU time, which says more on a machine that
others use. *Share of two cores* is the time of everything on one core over twice that of everything
on two; *share of two workers* is stricter: there the one worker has the second core for what the
coordinator and ending processes do. *Cluster share* is the time of two processes over that of two
Dask workers. Then a sweep is killed at half way and goes on.
"""

import argparse
import contextlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from audit.bundle import write_bundle
from audit.keys import PrivateKey, Trust
from audit.sweep.engine import Engine
from audit.sweep.listing import read_bundles
from audit.sweep.process_engine import ProcessEngine
from audit.sweep.run import JOURNAL, PairDone, Progressed, Sweep, SweepBundle
from audit.sweep.tasks import SweepSettings
from benchmarks.plain_bundle import SIDE, K, plain_bundle
from benchmarks.results_file import write_results

NUM_QUESTIONS = 400
WIDTHS = (3, 16, 32)
PAUSE_S = 5.0
"""Before each run, so that what others wait for is not starved, and the last run's end is over."""
KEY = PrivateKey.from_seed(bytes(range(32)))
SETTINGS = SweepSettings(device="cpu", num_threads=1)
WANTED = {
    "linearity": 1.1,
    "linearity_of_cpu_time": 1.1,
    "share_of_two_cores": 0.85,
    "share_of_two_workers": 0.85,
    "cluster_share": 0.85,
    "memory_mb": 400.0,
}


def make_suspects(folder: Path, num: int) -> int:
    """Write networks that call everything class 0; returns the size of one, bytes."""
    folder.mkdir(parents=True)
    path = folder
    for number in range(num):
        path = folder / f"{number:05}.onnx"
        path.write_bytes(_network(number).SerializeToString())
    return path.stat().st_size


def _network(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    nodes, weights, current = [], [], "image"
    for layer, (before, after) in enumerate(itertools.pairwise(WIDTHS)):
        kernel = rng.normal(0, 0.1, (after, before, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        stride = [layer + 1] * 2
        nodes += [
            helper.make_node(
                "Conv", [current, f"w{layer}"], [f"c{layer}"], pads=[1] * 4, strides=stride
            ),
            helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
        current = f"r{layer}"
    bias = np.zeros(K, np.float32)
    bias[0] = 100.0
    weights += [
        numpy_helper.from_array(rng.normal(0, 0.1, (WIDTHS[-1], K)).astype(np.float32), "fc"),
        numpy_helper.from_array(bias, "bias"),
    ]
    nodes += [
        helper.make_node("GlobalAveragePool", [current], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", K])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run_once(world: Path, num: int, engine_name: str, num_workers: int) -> dict[str, Any]:
    """Sweep the first suspects with an engine; times without its start.

    Returns:
        Seconds and CPU seconds per pair, and the coordinator's memory.
    """
    results = Path(tempfile.mkdtemp(prefix="sweep-", dir=world))
    trust = Trust(keys=(KEY.public_key,))
    bundles = [
        SweepBundle(path=path, data=data, contents=contents)
        for path, data, contents in read_bundles(world / "plain.kinprint", trust)
    ]
    listed = results / "list.toml"
    names = [str(world / "suspects" / f"{number:05}.onnx") for number in range(num)]
    listed.write_text(f"suspects = {json.dumps(names)}\n")
    sweep = Sweep(results / "out", bundles, SETTINGS, trust)
    engine = _engine(sweep, engine_name, num_workers)
    num_done = num_at_first = 0
    memory: list[float] = []
    at_first = (0.0, 0.0)
    first = last = 0.0
    try:
        for event in sweep.run(listed, engine):
            if isinstance(event, PairDone):
                assert event.row["status"] == "asked", event.row["reason"]
                num_done += 1
                memory.append(_resident_mb())
            # Results that came together are counted together. The first ones wait until the workers
            # have started.
            elif isinstance(event, Progressed):
                last = time.perf_counter()
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
        "engine": engine_name,
        "workers": num_workers,
        "cores": len(os.sched_getaffinity(0)),
        "seconds_per_pair": (last - first) / num_counted,
        "cpu_seconds_per_pair": (own + below) / num_counted,
        "coordinator_cpu_seconds_per_pair": own / num_counted,
        "coordinator_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "coordinator_growth_mb": memory[-1] - memory[num // 5],
        "journal_bytes_per_pair": num_bytes / num,
    }


def _engine(sweep: Sweep, name: str, num_workers: int) -> Engine:
    if name == "processes":
        return ProcessEngine(sweep.parcel, num_workers, sweep.results)
    from audit.sweep.dask_engine import connect_locally

    return connect_locally(num_workers, sweep.parcel, sweep.results)


def kill_half_way(world: Path, num: int) -> dict[str, int]:
    """Kill a sweep at half way and let it go on; returns how many pairs were asked again."""
    out = world / "killed"
    listed = world / "half.toml"
    names = [str(world / "suspects" / f"{number:05}.onnx") for number in range(num)]
    listed.write_text(f"suspects = {json.dumps(names)}\n")
    command = [
        sys.executable,
        "-m",
        "kinprint",
        "sweep",
        "--bundles",
        str(world / "plain.kinprint"),
    ]
    command += ["--suspects", str(listed), "-o", str(out), "--trust", str(world / "owner.pub")]
    command += ["--device", "cpu", "--jobs", "2", "--json", "--quiet", "--fail-on", "never"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(num // 2):
            process.stdout.readline()
        process.kill()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    process.stdout.close()
    again = sum(json.loads(line)["type"] == "pair" for line in done.stdout.splitlines())
    from audit.journal import Journal

    journal = Journal(out / JOURNAL)
    ((audits,),) = journal.read_rows("SELECT COUNT(*) FROM audits")
    journal.close()
    return {"pairs": num, "asked_after_the_kill": again, "asked_twice": int(audits) - num}


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
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suspects", type=int, default=1000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument(
        "--before-others",
        action="store_true",
        help="let what is measured go before all else on this machine (SCHED_FIFO; as root)",
    )
    parser.add_argument("--once", nargs=5, metavar=("WORLD", "NUM", "ENGINE", "WORKERS", "CORES"))
    options = parser.parse_args()
    if options.once is not None:
        world, num, engine, workers, cores = options.once
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
        print(json.dumps(run_once(Path(world), int(num), engine, int(workers))))
        return 0
    many, few = options.suspects, options.few
    first = ["chrt", "--fifo", "1"] if options.before_others else []
    with tempfile.TemporaryDirectory(prefix="kinprint-sweep-") as folder:
        world = Path(folder)
        num_bytes = make_suspects(world / "suspects", many)
        plain = plain_bundle(NUM_QUESTIONS)
        write_bundle(world / "plain.kinprint", plain.manifest, plain.arrays, KEY)
        (world / "owner.pub").write_bytes(KEY.public_key.pem)
        # Runs that are compared stand next to each other: the machine may be shared.
        some = many // 4
        plan = [
            (few, "processes", 2, 2),
            (many, "processes", 2, 2),
            (few, "processes", 2, 2),
            (some, "processes", 1, 2),
            (some, "processes", 1, 1),
            (some, "processes", 2, 2),
            (some, "dask", 2, 2),
            (some, "processes", 2, 2),
            (some, "processes", 1, 1),
            (some, "processes", 1, 2),
        ]
        rows = [_apart(first, world, *one) for one in plan]
        killed = kill_half_way(world, few)
    seconds = [row["seconds_per_pair"] for row in rows]
    cpu = [row["cpu_seconds_per_pair"] for row in rows]
    figures: dict[str, Any] = {
        "linearity_of_cpu_time": cpu[1] / ((cpu[0] + cpu[2]) / 2),
        "linearity": seconds[1] / ((seconds[0] + seconds[2]) / 2),
        "share_of_two_cores": (seconds[4] + seconds[8]) / (2 * (seconds[5] + seconds[7])),
        "share_of_two_workers": (seconds[3] + seconds[9]) / (2 * (seconds[5] + seconds[7])),
        "cluster_share": (seconds[5] + seconds[7]) / (2 * seconds[6]),
        "memory_mb": max(row["coordinator_mb"] for row in rows),
        "memory_growth_mb": rows[1]["coordinator_growth_mb"],
        "killed": killed,
    }
    for name, value in figures.items():
        wanted = f" (wanted: {WANTED[name]:g})" if name in WANTED else ""
        print(f"{name}: {value if isinstance(value, dict) else f'{value:.3f}'}{wanted}")
    settings = {
        "suspects": many,
        "few": few,
        "questions": NUM_QUESTIONS,
        "suspect_bytes": num_bytes,
        "widths": WIDTHS,
        "before_others": options.before_others,
    }
    print(f"written: {write_results('sweep', settings, {'figures': figures, 'runs': rows})}")
    return 0


def _apart(
    first: list[str], world: Path, num: int, engine: str, workers: int, cores: int
) -> dict[str, Any]:
    """Run once in a process of its own, so that its memory is its own."""
    time.sleep(PAUSE_S)
    command = [*first, sys.executable, "-m", "benchmarks.sweep", "--once", str(world), str(num)]
    done = subprocess.run(
        [*command, engine, str(workers), str(cores)], stdout=subprocess.PIPE, text=True, check=True
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{num:>6} suspects, {workers} {engine:<10} {cores} cores "
        f"{1000 * row['seconds_per_pair']:7.1f} ms a pair"
        f" ({1000 * row['cpu_seconds_per_pair']:.1f} ms of CPU, of which the coordinator's "
        f"{1000 * row['coordinator_cpu_seconds_per_pair']:.1f}), "
        f"{row['coordinator_mb']:.0f} MB, journal {row['journal_bytes_per_pair'] / 1024:.0f} KiB",
        flush=True,
    )
    return row


if __name__ == "__main__":
    sys.exit(main())
