"""Images per second of an audit at real model servers, against a load generator in C.

    python -m benchmarks http_servers

Triton, KServe and TorchServe serve a ResNet-20 (81 MFLOP), or with ``--classifier demo`` the
demo's classifier (25 MFLOP); one image a request, or 8 where the server takes several (as new
endpoint files say), with 4 or 16 requests in flight. ``C`` sends one of the audit's own requests
again and again and keeps nothing (http_load.c); ``audit`` is the whole audit: image encoding,
journal on disk, verdict. They take turns, and each ratio is that of a pair. The servers are those
of the tests and are installed on first use; BentoML is not among them, because it turns away what
comes while it is busy.

``apart``, the server has one half of the processors and whoever asks the other, as with a vendor's
server, which is elsewhere; ``busy`` is the share of the time in which the server's half was at work
under the generator and under the audit. Where both are 1.00, nobody could have kept the server
busier; if the audit gets fewer answers there, each one cost the server more: processors of one
machine share caches, and some servers take together what waits for them.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime

from adapters.endpoint.wire_format import WireRequest
from adapters.http.opening import open_endpoint
from benchmarks.http_audit import audit_speed
from benchmarks.http_load import compiled, load_rate, write_request
from benchmarks.plain_bundle import SIDE, K, plain_bundle
from benchmarks.results_file import write_results

if TYPE_CHECKING:
    from torch import nn


def _demo() -> "nn.Module":
    from generator.demo.assets import demo_source

    return demo_source().model


def _resnet20() -> "nn.Module":
    import torch

    from benchmarks.cifar_resnet import resnet20

    torch.manual_seed(0)
    return resnet20().eval()


CLASSIFIERS: dict[str, "Callable[[], nn.Module]"] = {"resnet20": _resnet20, "demo": _demo}
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
    parser.add_argument("--classifier", choices=list(CLASSIFIERS), action="append", default=[])
    options = parser.parse_args()
    if shutil.which("cc") is None:
        print("no C compiler (cc) on this machine: skipped")
        return 0
    sys.path.append(str(TESTS))
    from servers.serving import SERVERS
    from worlds.kept_environment import BuildError

    rows, load = [], os.getloadavg()[0]
    print(
        f"{'classifier':<11} {'server':<11} {'cores':<6} {'images':>6} {'c':>3} {'C':>6} "
        f"{'audit':>6}  audit/C (pairs)   busy C, audit  CPU an image  memory"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = compiled("http_load", folder)
        models = {
            name: _classifier(name, folder / name / "suspect.onnx")
            for name in options.classifier or ["resnet20"]
        }
        servers, cores = options.server or ENDPOINTS, options.cores or _possible_cores()
        for classifier, server, placing in itertools.product(models, servers, cores):
            model = models[classifier]
            if server == "torchserve" and shutil.which("java") is None:
                print(f"{server}: skipped, there is no java on this machine")
                continue
            work = folder / f"{classifier}-{server}-{placing}"
            work.mkdir()
            try:
                with _placed(SERVERS[server](model, work), placing) as (port, its_cores):
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
                            its_cores,
                            seconds=options.seconds,
                            pairs=options.pairs,
                        )
                        named = {"classifier": classifier, "server": server, "cores": placing}
                        rows.append({**named, **row})
                        _print(rows[-1])
            except BuildError as error:
                print(f"{server}: skipped, {error}")
    settings = {
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
def _placed(
    server: AbstractContextManager[int], placing: str
) -> Iterator[tuple[int, Sequence[int]]]:
    """Run a server; yield its port and the processors that it has for itself, if any."""
    if placing == "shared":
        with server as port:
            yield port, ()
        return
    every = sorted(os.sched_getaffinity(0))
    half = len(every) // 2
    os.sched_setaffinity(0, every[:half])  # children inherit it
    try:
        with server as port:
            os.sched_setaffinity(0, every[half:])
            yield port, every[:half]
    finally:
        os.sched_setaffinity(0, every)


def _busy_s(cores: Sequence[int]) -> float:
    """Return for how long these processors have been at work since the machine started."""
    total, names = 0, {f"cpu{core}" for core in cores}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            idle, waiting_for_disk = map(int, ticks[3:5])
            total += sum(map(int, ticks[:8])) - idle - waiting_for_disk
    return total / os.sysconf("SC_CLK_TCK")


def _classifier(name: str, path: Path) -> Path:
    """Write a classifier of ten classes."""
    from generator.sources.onnx_export import export_onnx

    path.parent.mkdir()
    export_onnx(CLASSIFIERS[name](), path, image_shape=(SIDE, SIDE, 3))
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
    cores: Sequence[int],
    *,
    seconds: float,
    pairs: int,
) -> dict[str, Any]:
    """Return medians; generator and audit take turns, so that a busy moment meets both."""
    request = _request(endpoint, port, images)
    rough = load_rate(generator, port, concurrency, 20 * concurrency, request)
    rough = load_rate(generator, port, concurrency, int(rough), request)  # when all is warm
    num = int(min(MAX_IMAGES // images, max(200, rough * seconds)))
    labels = _control_labels(model, num * images)
    rates, speeds, busy = [], [], []
    for _ in range(pairs):
        before = _busy_s(cores)
        rates.append(images * load_rate(generator, port, concurrency, num, request))
        between = _busy_s(cores)
        speeds.append(audit_speed(endpoint, num * images, labels))
        after, num_images = _busy_s(cores), num * images * len(cores)
        if cores:
            busy.append(
                [
                    (between - before) * rates[-1] / num_images,
                    (after - between) * speeds[-1].per_second / num_images,
                ]
            )
    ratios = [speed.per_second / rate for rate, speed in zip(rates, speeds, strict=True)]
    return {
        "images_per_request": images,
        "concurrency": concurrency,
        "num_requests": num,
        "c": round(statistics.median(rates), 1),
        "audit": round(statistics.median(speed.per_second for speed in speeds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "busy": [round(statistics.median(one), 2) for one in zip(*busy, strict=True)],
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


def _print(row: dict[str, Any]) -> None:
    print(
        f"{row['classifier']:<11} {row['server']:<11} {row['cores']:<6} "
        f"{row['images_per_request']:>6} {row['concurrency']:>3} {row['c']:>6.0f} "
        f"{row['audit']:>6.0f}  {row['ratio']:>4.2f} {row['ratios']}  "
        f"{', '.join(map(str, row['busy'])) or '-'}  {row['audit_cpu_us']} us  "
        f"{row['audit_mib']} MiB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
