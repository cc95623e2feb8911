"""A trained `TinyNet` as an ONNX file, written by hand.

Torch's exporter takes seven times as long as the training. `worlds.tiny_task` cannot hold this: an
owner's process loads that file by its path and knows no other one of the tests.
"""

from pathlib import Path

from onnx import helper, numpy_helper

from generator.sources.source import Normalised
from worlds.onnx_builders import make_model, save, value
from worlds.tiny_task import CLASSES


def write_onnx(path: Path, model: Normalised) -> Path:
    """Write normalised pixels ``input`` ``[N, 3, 12, 12]`` -> ``logits`` ``[N, 3]``."""
    weights = model.network.state_dict()
    nodes = [
        helper.make_node(
            "Conv",
            ["input", "conv.weight", "conv.bias"],
            ["maps"],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
        ),
        helper.make_node(
            "BatchNormalization",
            ["maps", *(f"bn.{name}" for name in ("weight", "bias", "running_mean", "running_var"))],
            ["normed"],
        ),
        helper.make_node("Relu", ["normed"], ["features"]),
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    stored = [
        numpy_helper.from_array(tensor.numpy(), name)
        for name, tensor in weights.items()
        if name != "bn.num_batches_tracked"
    ]
    classes = value("logits", ["n", len(CLASSES)])
    return save(make_model(nodes, [value("input", ["n", 3, 12, 12])], [classes], stored), path)
