"""Images per second of an ONNX suspect, its process included, against a bare onnxruntime loop.

Both get the same images in the same run, turn about; the bare loop has its float tensors made
beforehand and takes the best of several batch sizes, the suspect gets uint8 pixels and its own
batch size.

    python -m benchmarks onnx_throughput [--onnx FILE ...] [--rounds 7]

The aim holds for files above 10 MFLOP per image; the ratio of smaller ones is shown all the same:
there the way to the suspect's process and back costs more than the model.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from adapters.onnx.opening import open_onnx
from adapters.onnx.suspect import OnnxSuspect
from adapters.preprocessing import apply
from benchmarks.onnx_flops import flops_per_image
from benchmarks.results_file import write_results

BARE_BATCHES = (1, 8, 32, 64, 128)
WANTED_RATIO = 0.9
COUNTED_MFLOP = 10.0
"""Arithmetic per image from which on the wanted ratio holds."""
WANTED_START_S = 1.5
MIN_ROUND_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What one file reached."""

    name: str
    mflop: float | None
    """Arithmetic per image; None where it cannot be counted."""
    start_s: float
    """Opening the suspect, seconds."""
    suspect_batch: int
    suspect_rate: float
    """Images per second, median over the rounds."""
    bare_batch: int
    bare_rate: float
    ratio: float
    """Median over the rounds of suspect rate / bare rate."""

    @property
    def is_counted(self) -> bool:
        """Return whether the wanted ratio is meant for this file."""
        return self.mflop is not None and self.mflop > COUNTED_MFLOP

    @property
    def is_reached(self) -> bool:
        """Return whether the file starts in time and, where that counts, is fast enough."""
        return self.start_s <= WANTED_START_S and (
            not self.is_counted or self.ratio >= WANTED_RATIO
        )


def residual_network(path: Path, *, side: int, widths: tuple[int, ...], blocks: int) -> None:
    """Write a residual network with random weights: one stage per width, each halving the side."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def convolve(source: str, channels: tuple[int, int], stride: int, kernel: int = 3) -> str:
        name = f"conv{len(weights)}"
        shape = (channels[1], channels[0], kernel, kernel)
        values = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}_w"))
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}_w"],
                [name],
                pads=[kernel // 2] * 4,
                strides=[stride] * 2,
            )
        )
        return name

    def node(operator: str, *sources: str) -> str:
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operator, list(sources), [name]))
        return name

    value = node("Relu", convolve("input", (3, widths[0]), 1 if side < 64 else 4))
    width = widths[0]
    for stage, next_width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            inner = node("Relu", convolve(value, (width, next_width), stride))
            inner = convolve(inner, (next_width, next_width), 1)
            if stride > 1:
                value = convolve(value, (width, next_width), stride, kernel=1)
            value, width = node("Relu", node("Add", inner, value)), next_width
    value = node("Flatten", node("GlobalAveragePool", value))
    weights.append(
        numpy_helper.from_array(rng.normal(0, 0.1, (width, 10)).astype(np.float32), "fc")
    )
    nodes.append(helper.make_node("MatMul", [value, "fc"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def measure(path: Path, *, rounds: int) -> Throughput:
    """Time one file.

    Args:
        path: The ONNX file.
        rounds: Number of turns of both.
    """
    started = time.perf_counter()
    with open_onnx(path, device="cpu") as suspect:
        start_s = time.perf_counter() - started
        height, width = suspect.recipe.size or (224, 224)
        shape = (suspect.batch_size, height, width, suspect.recipe.channels or 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        bare_batch, _ = max(
            (
                (n, _bare_rate(session, suspect, images, n, MIN_ROUND_S / 4))
                for n in _batches(suspect)
            ),
            key=lambda pair: pair[1],
        )
        pairs = [
            (
                _suspect_rate(suspect, images),
                _bare_rate(session, suspect, images, bare_batch, MIN_ROUND_S),
            )
            for _ in range(rounds)
        ]
    flops = flops_per_image(path, side=height)
    return Throughput(
        name=path.name,
        mflop=None if flops is None else round(flops / 1e6, 2),
        start_s=start_s,
        suspect_batch=len(images),
        suspect_rate=statistics.median(ours for ours, _ in pairs),
        bare_batch=bare_batch,
        bare_rate=statistics.median(bare for _, bare in pairs),
        ratio=statistics.median(ours / bare for ours, bare in pairs),
    )


def _batches(suspect: OnnxSuspect) -> tuple[int, ...]:
    fixed = suspect.image_input.fixed_batch
    return BARE_BATCHES if fixed is None else (fixed,)


def _suspect_rate(suspect: OnnxSuspect, images: NDArray[np.uint8]) -> float:
    suspect.predict(images)
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < MIN_ROUND_S:
        suspect.predict(images)
        done += len(images)
    return done / elapsed


def _bare_rate(
    session: onnxruntime.InferenceSession,
    suspect: OnnxSuspect,
    images: NDArray[np.uint8],
    batch: int,
    seconds: float,
) -> float:
    tensor = apply(suspect.recipe, np.resize(images, (batch, *images.shape[1:])))
    feed = {suspect.image_input.name: tensor}
    session.run([suspect.trial.output], feed)
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        session.run([suspect.trial.output], feed)
        done += batch
    return done / elapsed


def main() -> int:
    """Print the table and write it; 1 if a file misses what is wanted of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--onnx", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(
        f"{'file':36} {'MFLOP':>8} {'start s':>8} {'batch':>6} {'img/s':>9} {'bare b.':>8} "
        f"{'bare':>9} {'ratio':>6}"
    )
    rows: list[Throughput] = []
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "residual_32.onnx"), Path(folder, "residual_224.onnx")
        residual_network(small, side=32, widths=(16, 32, 64), blocks=3)
        residual_network(large, side=224, widths=(64, 128, 256), blocks=2)
        for path in [small, large, *arguments.onnx]:
            rows.append(measure(path, rounds=arguments.rounds))
            _print(rows[-1])
    print(
        f"wanted: ratio at least {WANTED_RATIO} above {COUNTED_MFLOP:g} MFLOP, "
        f"start at most {WANTED_START_S} s"
    )
    print(
        write_results(
            "onnx_throughput",
            {
                "rounds": arguments.rounds,
                "wanted_ratio": WANTED_RATIO,
                "counted_mflop": COUNTED_MFLOP,
                "wanted_start_s": WANTED_START_S,
            },
            [
                {**asdict(row), "is_counted": row.is_counted, "is_reached": row.is_reached}
                for row in rows
            ],
        )
    )
    return 0 if all(row.is_reached for row in rows) else 1


def _print(row: Throughput) -> None:
    note = (
        f"above {COUNTED_MFLOP:g} MFLOP"
        if row.is_counted
        else f"below {COUNTED_MFLOP:g} MFLOP: not counted"
    )
    if row.mflop is None:
        note = "arithmetic unknown: not counted"
    print(
        f"{row.name[:36]:36} {'?' if row.mflop is None else row.mflop:>8} {row.start_s:8.2f} "
        f"{row.suspect_batch:6} {row.suspect_rate:9.1f} {row.bare_batch:8} {row.bare_rate:9.1f} "
        f"{row.ratio:6.2f}  {note}{'' if row.is_reached else '; MISSED'}",
        flush=True,
    )
