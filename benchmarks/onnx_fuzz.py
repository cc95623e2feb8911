"""Thousands of broken ONNX files through a real audit's door.

Variants of the models of `tests/worlds/onnx_builders.py` and of any files named, from a seed. The
auditing process must stay alive, answer or refuse within its limits, and leave nothing behind.

    python -m benchmarks onnx_fuzz [--cases 2000] [--seed 1] [--onnx FILE ...]
"""

import argparse
import collections
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from worlds.onnx_builders import brightest_channel, with_two_heads
from worlds.onnx_mutations import LIMITS, SLACK_S, Outcome, audit_variant, mutate

from benchmarks.results_file import write_results

MAX_CASE_S = LIMITS.start_timeout_s + 6 * LIMITS.predict_timeout_s + SLACK_S


def main() -> int:
    """Run the cases and print what came of them; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--onnx", type=Path, nargs="*", default=[])
    parser.add_argument("--at-once", type=int, default=2)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    bases = [
        brightest_channel(weights_as_inputs=True).SerializeToString(),
        brightest_channel(shape=("n", 8, 8, 3), channels_last=True).SerializeToString(),
        with_two_heads(agree=True).SerializeToString(),
        *(path.read_bytes() for path in arguments.onnx),
    ]
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest, broken = 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder, private = Path(name, "files"), Path(name, "private")
        folder.mkdir()
        private.mkdir()
        tempfile.tempdir = str(private)

        def run(index: int, mutation: str, data: bytes) -> tuple[Outcome, float]:
            path = folder / f"{index}.onnx"
            path.write_bytes(data)
            started = time.monotonic()
            try:
                return audit_variant(mutation, str(path)), time.monotonic() - started
            finally:
                path.unlink()

        with ThreadPoolExecutor(arguments.at_once) as pool:
            pending = collections.deque(
                pool.submit(run, index, *mutate(bases[rng.integers(len(bases))], rng))
                for index in range(arguments.cases)
            )
            started = time.monotonic()
            for done in range(arguments.cases):
                outcome, seconds = pending.popleft().result()
                slowest = max(slowest, seconds)
                broken += seconds > MAX_CASE_S
                counts[outcome.mutation]["answered" if outcome.is_answered else "refused"] += 1
                if (done + 1) % 100 == 0:
                    elapsed = time.monotonic() - started
                    print(f"{done + 1} cases, {elapsed:.0f} s", file=sys.stderr, flush=True)
        left = [*folder.iterdir(), *private.iterdir()]
        tempfile.tempdir = None
    print(f"{'mutation':20} {'answered':>9} {'refused':>8}")
    for mutation, counter in sorted(counts.items()):
        print(f"{mutation:20} {counter['answered']:9} {counter['refused']:8}")
    print(
        f"slowest case {slowest:.1f} s (limit {MAX_CASE_S:.0f} s), files left behind: {len(left)}"
    )
    print(
        write_results(
            "onnx_fuzz",
            {"cases": arguments.cases, "seed": arguments.seed, "limit_s": MAX_CASE_S},
            {
                "mutations": {name: dict(counter) for name, counter in sorted(counts.items())},
                "slowest_case_s": round(slowest, 1),
                "cases_over_the_limit": broken,
                "files_left_behind": len(left),
            },
        )
    )
    if broken or left:
        print(f"{broken} cases over the limit, {len(left)} files left behind", file=sys.stderr)
    return 1 if broken or left else 0
