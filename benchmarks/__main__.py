"""``python -m benchmarks [NAME ...]``: run some benchmarks, or all that need no other data.

Each prints a table and writes ``benchmarks/results/NAME.json`` with its settings and the machine.
"""

import argparse
import importlib
import sys

from audit.commands.terminal.output_gate import printable_output

BENCHMARKS = {
    "queries": "which queries tell derived models from innocents, on the demo's models",
    "startup": "seconds until --help, and what an audit imports",
    "onnx_throughput": "images per second through an ONNX suspect, against a bare onnxruntime loop",
    "http_throughput": "requests per second of an audit over HTTP, against a load generator in C",
    "http_servers": "the same at real model servers, which are installed on first use",
    "sweep": "what a sweep of a thousand small files costs, on processes and on a cluster",
    "onnx_fuzz": "thousands of broken ONNX files through an audit's door",
    "arena": "every fingerprint on suspects that nobody tuned for (needs --data; an hour)",
    "false_claims": "bundles that accuse the innocent, and who notices (needs --data; 15 minutes)",
    "crafting": "seconds and memory of 'kinprint craft' (needs --model, --weights and --images)",
}

_NEED_DATA = ("arena", "crafting", "false_claims")


def main() -> int:
    """Run what is asked for; further options go to the benchmark."""
    listing = "\n".join(f"  {name:<18}{text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Benchmarks:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name", nargs="?", choices=list(BENCHMARKS), help="default: all that need no other data"
    )
    options, rest = parser.parse_known_args()
    names = [options.name] if options.name else [n for n in BENCHMARKS if n not in _NEED_DATA]
    for name in names:
        print(f"== {name}: {BENCHMARKS[name]}", flush=True)
        sys.argv = [f"benchmarks.{name}", *rest]
        status = importlib.import_module(f"benchmarks.{name}").main()
        if status:
            return int(status)
    return 0


if __name__ == "__main__":
    with printable_output():
        sys.exit(main())
