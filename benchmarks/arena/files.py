"""Members that exist as files only: quantised copies and other people's models."""

from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
from numpy.typing import NDArray

from benchmarks.arena.data import MEAN, STD
from benchmarks.cifar_resnet import CifarResNet
from generator.sources.onnx_export import export_onnx, quantise_int8, quiet

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_quantised(source: Path, out: Path, images: NDArray[np.uint8], *, to: str) -> None:
    """Write a smaller copy of an ONNX file.

    Args:
        source: Float model that takes normalised pixels.
        out: Where the copy goes.
        images: Set the activation ranges of static quantisation, ``[N, H, W, C]``.
        to: ``int8-static``, ``int8-dynamic`` or ``float16``.
    """
    if to == "int8-static":
        pixels = (images / 255.0 - np.array(MEAN)) / np.array(STD)
        # [N, H, W, C] -> [N, C, H, W]
        inputs = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32))
        quantise_int8(source, out, calibration_inputs=inputs)
    elif to == "int8-dynamic":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # The quantiser swaps weights without saying so to the shapes that the exporter wrote down.
        plain = onnx.load(source)
        del plain.graph.value_info[:]
        # Convolutions of signed weights have no kernel in every build of the runtime.
        with quiet():
            quantize_dynamic(plain, out, weight_type=QuantType.QUInt8)
    else:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), out)


def write_stranger(
    file: Path, out: Path, *, image_shape: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Write a pretrained CIFAR ResNet as ONNX and return the normalisation that it expects."""
    state = safetensors.torch.load_file(file)
    per_stage = len({name.split(".")[1] for name in state if name.startswith("layer1.")})
    network = CifarResNet(per_stage)
    network.load_state_dict(state)
    height, width, channels = image_shape
    export_onnx(network, out, image_shape=(height, width, channels))
    return _IMAGENET
