"""What a sweep costs: many small ONNX suspects and one bundle, on processes and on a Dask cluster.

    python -m benchmarks sweep [--suspects 1000] [--few 100] [--rounds 3]

Suspects are small convolutional networks, each another file, made on the fly. All figures are
ratios within one run (`MEANINGS` says of what). Then a sweep is killed at half way and goes on.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from audit.bundle.bundle_file import write_bundle
from audit.sweep.run import JOURNAL
from benchmarks.plain_bundle import SIDE, K, plain_bundle
from benchmarks.results_file import write_results
from benchmarks.sweep_runs import KEY, Order, run_at_once, suspect_names

NUM_QUESTIONS = 400
WIDTHS = (3, 16, 32)
WANTED = {
    "linearity": 1.1,
    "linearity_of_cpu_time": 1.1,
    "share_of_ideal": 0.85,
    "share_of_two_cores": 0.85,
    "share_of_two_workers": 0.85,
    "cluster_share": 0.85,
    "memory_mb": 400.0,
}
MEANINGS = {
    "linearity": "Time per suspect of many over that of few.",
    "linearity_of_cpu_time": (
        "The same of CPU time, which says more on a machine that others use."
    ),
    "share_of_ideal": (
        "Pairs per second of one sweep with two workers, over those of two sweeps together that "
        "run at the same time, each on a core of its own with one worker and half of the suspects: "
        "they share nothing and wait for nothing, and both cores are as busy. Median of the rounds."
    ),
    "ideal_overlap": (
        "Share of the time of those two sweeps in which both ran; the least of the rounds."
    ),
    "share_of_two_cores": (
        "Time of a sweep with one worker on one core, while the other core is idle, over twice "
        "that of one with two workers on both. What two busy cores take from each other (clock, "
        "cache, memory, one core's two threads) counts as the sweep's loss."
    ),
    "share_of_two_workers": (
        "The same, where the one worker has the second core for what the coordinator and ending "
        "processes do."
    ),
    "cluster_share": "Time of two processes over that of two Dask workers.",
    "memory_mb": "The coordinator's memory at most, MB.",
    "memory_growth_mb": "What it grew by from the first fifth of the suspects to the last, MB.",
    "killed": "A sweep that was killed at half way: pairs that its second run asked, and twice.",
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


def measure_ideal(first: list[str], world: Path, num: int, rounds: int) -> dict[str, Any]:
    """Compare a sweep on two cores with two that share nothing, in turns.

    Args:
        first: What goes before the command.
        world: Folder of bundle and suspects.
        num: Suspects of the one, and of the two together.
        rounds: How often.

    Returns:
        Pairs per second of both by round, their median ratio, and how much of the time of the two
        they had in common.
    """
    half = num // 2
    apart = [Order(num=half, workers=1, cores=(core,), start=core * half) for core in (0, 1)]
    ideal: list[float] = []
    reached: list[float] = []
    overlaps: list[float] = []
    for _ in range(rounds):
        one, other = run_at_once(first, world, apart)
        ideal.append(1 / one["seconds_per_pair"] + 1 / other["seconds_per_pair"])
        overlaps.append(_overlap(one, other))
        (both,) = run_at_once(first, world, [Order(num=2 * half)])
        reached.append(1 / both["seconds_per_pair"])
    return {
        "suspects": 2 * half,
        "pairs_per_second_of_two_apart": ideal,
        "pairs_per_second_of_one_sweep": reached,
        "share_of_ideal": median(got / wanted for got, wanted in zip(reached, ideal, strict=True)),
        "ideal_overlap": min(overlaps),
    }


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the time that two runs had in common, over the time from the first to the last."""
    begins, ends = ([float(row[name]) for row in (one, other)] for name in _COUNTED)
    return max(0.0, min(ends) - max(begins)) / (max(ends) - min(begins))


_COUNTED = ("counted_from", "counted_to")


def kill_half_way(world: Path, num: int) -> dict[str, int]:
    """Kill a sweep at half way and let it go on; returns how many pairs were asked again."""
    out = world / "killed"
    listed = world / "half.toml"
    listed.write_text(f"suspects = {json.dumps(suspect_names(world, num))}\n")
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
    from audit.journal.audits import audit_ids
    from audit.journal.journal import Journal

    journal = Journal(out / JOURNAL)
    num_audits = len(audit_ids(journal))
    journal.close()
    return {"pairs": num, "asked_after_the_kill": again, "asked_twice": num_audits - num}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suspects", type=int, default=1000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often two cores' ideal is measured"
    )
    parser.add_argument(
        "--before-others",
        action="store_true",
        help="let what is measured go before all else on this machine (SCHED_FIFO; as root)",
    )
    options = parser.parse_args()
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
            Order(num=few),
            Order(num=many),
            Order(num=few),
            Order(num=some, workers=1),
            Order(num=some, workers=1, cores=(0,)),
            Order(num=some),
            Order(num=some, engine="dask"),
            Order(num=some),
            Order(num=some, workers=1, cores=(0,)),
            Order(num=some, workers=1),
        ]
        rows = [row for order in plan for row in run_at_once(first, world, [order])]
        ideal = measure_ideal(first, world, some, options.rounds)
        killed = kill_half_way(world, few)
    seconds = [row["seconds_per_pair"] for row in rows]
    cpu = [row["cpu_seconds_per_pair"] for row in rows]
    figures: dict[str, Any] = {
        "linearity_of_cpu_time": cpu[1] / ((cpu[0] + cpu[2]) / 2),
        "linearity": seconds[1] / ((seconds[0] + seconds[2]) / 2),
        "share_of_ideal": ideal["share_of_ideal"],
        "ideal_overlap": ideal["ideal_overlap"],
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
        print(f"    {MEANINGS[name]}")
    settings = {
        "suspects": many,
        "few": few,
        "rounds": options.rounds,
        "questions": NUM_QUESTIONS,
        "suspect_bytes": num_bytes,
        "widths": WIDTHS,
        "before_others": options.before_others,
    }
    results = {"figures": figures, "meanings": MEANINGS, "ideal": ideal, "runs": rows}
    print(f"written: {write_results('sweep', settings, results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
