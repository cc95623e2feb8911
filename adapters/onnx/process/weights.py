"""Compare the file's weights with a sketch, in the file's own process."""

import numpy as np

from adapters.onnx.process.messages import Compared, CompareRequest
from adapters.onnx.process.shared_memory import Exchange
from adapters.weights.onnx_layers import read_layers
from adapters.weights.packed_sketch import LayerHead, PackedSketch, num_values, unpack
from adapters.weights.similarity import compare_layers


def compared(data: bytes, request: CompareRequest, exchange: Exchange) -> Compared:
    """Compare the file's layers with those of a sketch.

    Args:
        data: The file.
        request: From `adapters.onnx.model.OnnxModel.compare_weights`.
        exchange: Holds the sketch.
    """
    heads = tuple(LayerHead.from_row(row) for row in request.heads)
    size = num_values(heads)
    dtype = np.dtype(np.float16 if request.has_ancestor else np.int8)
    rows = exchange.pixels([size * dtype.itemsize * (1 + request.has_ancestor)])
    numbers = rows.view(dtype)
    sketch = PackedSketch(
        seed=request.seed,
        heads=heads,
        numbers=numbers[:size],
        ancestral=numbers[size:].view(np.float16)
        if request.has_ancestor
        else np.zeros(0, np.float16),
    )
    # External data lies beside the file, which is the working folder.
    network = read_layers(data, ".")
    layers = tuple(
        (one.partner, one.steps, one.is_matched)
        for one in compare_layers(unpack(sketch), network.layers)
    )
    return Compared(
        layers=layers,
        num_layers=len(network.layers),
        num_hidden=network.num_hidden,
        num_left_out=network.num_left_out,
    )
