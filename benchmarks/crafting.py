"""Seconds, steps and memory of ``kinprint craft`` with given references.

    python -m benchmarks crafting --model FILE.py:factory --weights W --normalise MEAN/STD
        --images A.zip ... --held-out B.zip [--references DIR] [--triggers 100] [--max-images 10000]

The public MFUE code takes 2,000 rounds of 10 steps, each on one random member of the pool; a step
here takes the whole pool. The table gives the ratio in single-model steps.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results_file import write_results

PUBLIC_STEPS = 2_000 * 10


def main() -> int:
    """Run one crafting from nothing and print a table of its stages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("model", "weights", "normalise"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--images", nargs="+", required=True)
    parser.add_argument("--held-out", nargs="+", required=True)
    parser.add_argument("--references")
    parser.add_argument("--triggers", type=int, default=100)
    parser.add_argument("--max-images", type=int, default=10_000)
    parser.add_argument("--num-mimics", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key, out = Path(folder) / "o.key", Path(folder) / "o.kinprint"
        base = [sys.executable, "-m", "kinprint"]
        subprocess.run([*base, "keygen", str(key)], check=True, capture_output=True)
        arguments = [
            *base,
            "craft",
            f"--model={options.model}",
            f"--weights={options.weights}",
            f"--normalise={options.normalise}",
            *(f"--images={path}" for path in options.images),
            *(f"--held-out={path}" for path in options.held_out),
            *([f"--references={options.references}"] if options.references else []),
            f"--triggers={options.triggers}",
            f"--max-images={options.max_images}",
            f"--out={out}",
            f"--key={key}",
            f"--work={folder}/work",
            "--device=cpu",
        ]
        start = time.monotonic()
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        stages: dict[str, float] = {}
        summary = ""
        for line in process.stderr:
            print(line, end="", flush=True)
            if found := re.fullmatch(r"(.+): ([0-9.]+) s\n", line):
                stages[found[1]] = float(found[2])
            summary = line.strip()
        if process.wait():
            return 1
        seconds = time.monotonic() - start
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    steps = int(re.search(r"\((\d+) steps each\)", summary)[1])  # type: ignore[index]  # in every summary
    pool_steps = steps * options.num_mimics
    results = {
        "seconds": round(seconds, 1),
        "minutes": round(seconds / 60, 2),
        "peak_memory_gb": round(peak_gb, 2),
        "stage_seconds": stages,
        "steps_per_trigger": steps,
        "seconds_per_step_of_the_pool": round(stages.get("triggers", 0.0) / max(steps, 1), 2),
        "single_model_steps": pool_steps,
        "public_code_single_model_steps": PUBLIC_STEPS,
        "share_of_the_public_schedule": round(pool_steps / PUBLIC_STEPS, 4),
    }
    for name, value in results.items():
        print(f"{name:<34}{value}")
    settings = {"triggers": options.triggers, "max_images": options.max_images, "device": "cpu"}
    print(write_results("crafting", settings, results))
    return 0
