"""Torch models as ONNX files, and int8 copies of them by onnxruntime's quantiser."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def export_onnx(network: nn.Module, path: Path, *, image_shape: tuple[int, int, int]) -> None:
    """Write a network as one ONNX file with a free batch size.

    Args:
        network: Takes normalised pixels ``[N, C, H, W]``, returns logits ``[N, K]``.
        path: Where it goes.
        image_shape: ``(H, W, C)``.
    """
    height, width, channels = image_shape
    example = torch.zeros(2, channels, height, width)
    with quiet():
        torch.onnx.export(
            network.cpu().eval(),
            (example,),
            str(path),
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: "batch"},),
            input_names=["input"],
            output_names=["logits"],
            verbose=False,
        )


def quantise_int8(
    path: Path, out: Path, *, calibration_inputs: NDArray[np.float32], batch_size: int = 50
) -> None:
    """Write an int8 copy (QDQ, per channel) of an ONNX file by onnxruntime's static quantiser.

    Args:
        path: Float model.
        out: Where the copy goes.
        calibration_inputs: What the model takes, ``[N, C, H, W]``; sets the activation ranges.
        batch_size: Of the calibration.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    batches = np.array_split(calibration_inputs, max(1, len(calibration_inputs) // batch_size))

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # untyped library
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._left, None)
            return None if batch is None else {"input": batch}

    # The quantiser leaves its intermediate files beside the model it reads.
    with TemporaryDirectory(dir=out.parent) as folder, quiet():
        private = Path(folder) / path.name
        private.write_bytes(path.read_bytes())
        quantize_static(private, out, Batches(), quant_format=QuantFormat.QDQ, per_channel=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters from talking: they warn about things that nobody can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
