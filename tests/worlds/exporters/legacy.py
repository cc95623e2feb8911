"""ONNX files as torch's TorchScript exporter writes them, in a tenth of the other one's time."""

import warnings
from pathlib import Path

import torch
from torch import nn


def export_legacy(network: nn.Module, path: Path, *, image_shape: tuple[int, int, int]) -> None:
    """Write a network; arguments as of `generator.sources.onnx_export.export_onnx`."""
    height, width, channels = image_shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, channels, height, width),),
            str(path),
            dynamo=False,
            opset_version=13,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "batch"}},
        )
