"""How long the command line takes to say what it can do.

python -m benchmarks startup [--runs 15]
"""

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks.results_file import write_results

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "kinprint --help": ["-m", "kinprint", "--help"],
    "kinprint audit --help": ["-m", "kinprint", "audit", "--help"],
    "kinprint craft --help": ["-m", "kinprint", "craft", "--help"],
}


def main() -> int:
    """Time each command in turn, several rounds, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - start)
    # The first round fills the disk cache and is not counted.
    medians = {name: round(statistics.median(times[1:]), 3) for name, times in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<24}{value:>8.3f} s")
    print(write_results("startup", {"runs": runs}, medians))
    return 0
