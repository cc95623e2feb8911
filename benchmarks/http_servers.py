"""Images per second of an audit at real model servers, against a load generator in C.

    python -m benchmarks http_servers

Triton, KServe and TorchServe serve the demo's classifier, one image a request, or 8 where the
server takes several (as new endpoint files say), with 4 or 16 requests in flight. ``C`` sends one
of the audit's own requests again and again and keeps nothing (http_load.c); ``audit`` is the whole
audit: image encoding, journal on disk, verdict. They take turns, and each ratio is that of a pair.
The servers are those of the tests and are installed on first use; BentoML is not among them,
because it turns away what comes while it is busy.

``apart``, the server has one half of the processors and whoever asks the other, as with a vendor's
server, which is elsewhere: the ratio says whether the audit keeps it as busy as anybody could.
``shared``, both take what they get: where the server leaves no processor idle, the ratio says how
much of them the audit takes from it.
"""

import argparse
import itertools
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import onnxruntime

from adapters.http_endpoint import open_endpoint
from adapters.wire.protocol import WireRequest
from benchmarks.http_audit import audit_speed
from benchmarks.http_load import compiled, load_rate, write_request
from benchmarks.plain_bundle import SIDE, K, plain_bundle
from benchmarks.results_file import write_results

TESTS = Path(__file__).parents[1] / "tests"
CONCURRENCIES = (4, 16)
IMAGES = {"triton": (1, 8), "kserve": (1, 8), "torchserve": (1,)}
"""In one request."""
MAX_IMAGES = 20_000
TENSOR = "[request.tensor]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n"
ENDPOINTS = {
    "triton": 'format = "open_inference_v2"\n'
    'url = "http://127.0.0.1:{port}/v2/models/suspect/infer"\n'
    f"concurrency = {{concurrency}}\n[request]\nbatch_size = {{images}}\nbinary = true\n{TENSOR}",
    "kserve": 'format = "open_inference_v2"\n'
    'url = "http://127.0.0.1:{port}/v2/models/suspect/infer"\nconcurrency = {concurrency}\n'
    "[request]\nbatch_size = {images}\nbinary = true\n"
    f'input = "input"\ndatatype = "FP32"\nlayout = "NCHW"\n{TENSOR}',
    "torchserve": 'format = "torchserve"\nurl = "http://127.0.0.1:{port}/predictions/suspect"\n'
    "concurrency = {concurrency}\nclass_names = ["
    + ", ".join(f'"class_{index}"' for index in range(K))
    + "]\n",
}


def main() -> int:
    """Print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks http_servers")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    parser.add_argument("--pairs", type=int, default=5, help="medians are shown")
    parser.add_argument("--server", choices=list(ENDPOINTS), action="append", default=[])
    parser.add_argument("--cores", choices=["apart", "shared"], action="append", default=[])
    options = parser.parse_args()
    if shutil.which("cc") is None:
        print("no C compiler (cc) on this machine: skipped")
        return 0
    sys.path.append(str(TESTS))
    from servers.environment import BuildError
    from servers.serving import SERVERS

    rows, load = [], os.getloadavg()[0]
    print(
        f"{'server':<11} {'cores':<6} {'images':>6} {'c':>3} {'C':>8} {'audit':>8}  "
        "audit/C (pairs)        CPU an image  memory"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator, model = compiled("http_load", folder), _classifier(folder / "suspect.onnx")
        servers, cores = options.server or ENDPOINTS, options.cores or _possible_cores()
        for server, placing in itertools.product(servers, cores):
            if server == "torchserve" and shutil.which("java") is None:
                print(f"{server}: skipped, there is no java on this machine")
                continue
            work = folder / f"{server}-{placing}"
            work.mkdir()
            try:
                with _placed(SERVERS[server](model, work), apart=placing == "apart") as port:
                    for images, concurrency in itertools.product(IMAGES[server], CONCURRENCIES):
                        path = work / "endpoint.toml"
                        text = ENDPOINTS[server].format(
                            port=port, concurrency=concurrency, images=images
                        )
                        path.write_text(text)
                        row = _measure(
                            path,
                            generator,
                            model,
                            port,
                            concurrency,
                            images,
                            seconds=options.seconds,
                            pairs=options.pairs,
                        )
                        rows.append({"server": server, "cores": placing, **row})
                        _print(rows[-1])
            except BuildError as error:
                print(f"{server}: skipped, {error}")
    settings = {
        "classifier": "the demo's, 32x32 pixels",
        "pairs": options.pairs,
        "seconds": options.seconds,
        "load_before": round(load, 2),
        "niceness": os.nice(0),
    }
    print(write_results("http_servers", settings, rows))
    return 0


def _possible_cores() -> list[str]:
    can_place = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    return ["apart", "shared"] if can_place else ["shared"]


@contextmanager
def _placed(server: AbstractContextManager[int], *, apart: bool) -> Iterator[int]:
    """Run a server, on processors of its own where it is to stand apart."""
    if not apart:
        with server as port:
            yield port
        return
    every = sorted(os.sched_getaffinity(0))
    half = len(every) // 2
    os.sched_setaffinity(0, every[:half])  # children inherit it
    try:
        with server as port:
            os.sched_setaffinity(0, every[half:])
            yield port
    finally:
        os.sched_setaffinity(0, every)


def _classifier(path: Path) -> Path:
    """Write the demo's classifier."""
    from generator.demo.assets import demo_source
    from generator.onnx_export import export_onnx

    export_onnx(demo_source().model, path, image_shape=(SIDE, SIDE, 3))
    return path


def _control_labels(model: Path, num_questions: int) -> list[int]:
    """Return what the model answers to the control images, pixels in [0, 1]."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    controls = plain_bundle(num_questions).arrays.controls
    pixels = controls.transpose(0, 3, 1, 2).astype(np.float32) / 255
    (values,) = session.run(None, {"input": pixels})
    return [int(label) for label in values.argmax(axis=1)]  # [C, K] -> [C]


def _measure(
    endpoint: Path,
    generator: Path,
    model: Path,
    port: int,
    concurrency: int,
    images: int,
    *,
    seconds: float,
    pairs: int,
) -> dict[str, object]:
    """Return medians; generator and audit take turns, so that a busy moment meets both."""
    request = _request(endpoint, port, images)
    rough = load_rate(generator, port, concurrency, 20 * concurrency, request)
    rough = load_rate(generator, port, concurrency, int(rough), request)  # when all is warm
    num = int(min(MAX_IMAGES // images, max(200, rough * seconds)))
    labels = _control_labels(model, num * images)
    rates, speeds = [], []
    for _ in range(pairs):
        rates.append(images * load_rate(generator, port, concurrency, num, request))
        speeds.append(audit_speed(endpoint, num * images, labels))
    ratios = [speed.per_second / rate for rate, speed in zip(rates, speeds, strict=True)]
    return {
        "images_per_request": images,
        "concurrency": concurrency,
        "num_requests": num,
        "c": round(statistics.median(rates), 1),
        "audit": round(statistics.median(speed.per_second for speed in speeds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "audit_cpu_us": round(statistics.median(speed.cpu_us for speed in speeds)),
        "audit_mib": round(max(speed.mib for speed in speeds), 1),
    }


def _request(path: Path, port: int, images: int) -> Path:
    """Write one of the audit's own requests, as it goes over the wire."""
    endpoint = open_endpoint(path, bundle_classes=[str(index) for index in range(K)])
    sent: list[WireRequest] = []
    endpoint.show(lambda request, raw: sent.append(request))
    shape = images, SIDE, SIDE, 3
    endpoint.predict(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    endpoint.close()
    target = urlsplit(sent[0].url).path
    return write_request(path.with_name("request"), target, port, sent[0].headers, sent[0].body)


def _print(row: dict[str, object]) -> None:
    print(
        f"{row['server']:<11} {row['cores']:<6} {row['images_per_request']:>6} "
        f"{row['concurrency']:>3} "
        f"{row['c']:>8.0f} {row['audit']:>8.0f}  {row['ratio']:>4.2f} {row['ratios']}  "
        f"{row['audit_cpu_us']} us  {row['audit_mib']} MiB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
