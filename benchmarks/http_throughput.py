"""Requests per second of an audit over HTTP, against a load generator and a bare Python loop.

    python -m benchmarks http_throughput

The same server in C (http_server.c) answers after 0, 5 or 20 ms, or is busy for 2 ms with one
request after the other (``each 2 ms``); 4 or 16 requests are in flight. It needs next to no
processor time, as a vendor's server needs none of ours.
``C`` is a load generator that keeps nothing (http_load.c), ``loop`` threads around Python's own
http.client that keep nothing either, ``audit`` the whole audit: PNG, journal on disk, verdict. The
memory is the largest that an audit's process had.
"""

import argparse
import http.client
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.http_audit import audit_speed
from benchmarks.http_load import compiled, load_rate, write_request
from benchmarks.results_file import write_results

SERVERS = {
    "0 ms": ("0",),
    "5 ms": ("5",),
    "20 ms": ("20",),
    "each 2 ms": ("2", "alone"),
}
"""Arguments of http_server.c by name."""
CONCURRENCIES = (4, 16)
MAX_REQUESTS = 20_000
HEADERS = {"Content-Type": "application/json"}
BODY = json.dumps({"image": "A" * 4200}).encode()
ENDPOINT = """\
format = "generic"
url = "http://127.0.0.1:{port}/classify"
concurrency = {concurrency}
[request]
template = '{{"image": "{{{{image_base64_png}}}}"}}'
[answer]
label = "label"
"""


def main() -> int:
    """Print a table and write the results."""
    if shutil.which("cc") is None:
        print("no C compiler (cc) on this machine: skipped")
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks http_throughput")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3, help="medians are shown")
    options = parser.parse_args()
    rows, load = [], os.getloadavg()[0]
    print(f"{'server':>9} {'c':>3} {'C':>9} {'loop':>9} {'audit':>9}  audit/C  audit/loop   memory")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled("http_server", folder)
        generator = compiled("http_load", folder)
        for server, concurrency in itertools.product(SERVERS, CONCURRENCIES):
            row = _measure(
                folder,
                generator,
                server,
                concurrency,
                seconds=options.seconds,
                repeats=options.repeats,
            )
            rows.append(row)
            print(
                f"{server:>9} {concurrency:>3} {row['c']:>9.0f} {row['loop']:>9.0f} "
                f"{row['audit']:>9.0f}  {row['audit'] / row['c']:>7.2f}  "
                f"{row['audit'] / row['loop']:>10.2f} {row['audit_mib']:>5.0f} MiB",
                flush=True,
            )
    settings = {
        "image": "32x32x3 noise as PNG in JSON",
        "repeats": options.repeats,
        "seconds": options.seconds,
        "load_before": round(load, 2),
        "niceness": os.nice(0),
    }
    print(write_results("http_throughput", settings, rows))
    return 0


def _measure(
    folder: Path, generator: Path, server: str, concurrency: int, *, seconds: float, repeats: int
) -> dict[str, Any]:
    """Return medians; the three take turns, so that a busy moment meets all of them."""
    c, loops, audits, memory = [], [], [], 0.0
    with _server(folder, SERVERS[server]) as port:
        request = write_request(folder / "request", "/classify", port, HEADERS, BODY)
        # A first, rough rate; the audit reaches no more than so many a second.
        rate = min(3000.0, load_rate(generator, port, concurrency, 10 * concurrency, request))
        num_requests = int(min(MAX_REQUESTS, max(400, rate * seconds)))
        for _ in range(repeats):
            c.append(load_rate(generator, port, concurrency, num_requests, request))
            loops.append(_loop(port, concurrency, num_requests))
            path = folder / "endpoint.toml"
            path.write_text(ENDPOINT.format(port=port, concurrency=concurrency))
            told = audit_speed(path, num_requests)
            audits.append(told.per_second)
            memory = max(memory, told.mib)
    return {
        "server": server,
        "concurrency": concurrency,
        "num_requests": num_requests,
        "c": round(statistics.median(c), 1),
        "loop": round(statistics.median(loops), 1),
        "audit": round(statistics.median(audits), 1),
        "audit_mib": round(memory, 1),
    }


@contextmanager
def _server(folder: Path, arguments: Sequence[str]) -> Iterator[int]:
    process = subprocess.Popen([folder / "http_server", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _loop(port: int, concurrency: int, num: int) -> float:
    def ask(share: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(share):
            connection.request("POST", "/classify", BODY, HEADERS)
            connection.getresponse().read()
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(ask, [num // concurrency] * concurrency))
    return num / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
