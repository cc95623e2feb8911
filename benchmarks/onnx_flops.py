"""How much arithmetic an ONNX model does per image: its convolutions and matrix products."""

from math import prod
from pathlib import Path

import onnx
from onnx import shape_inference

CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Position of the weights among the inputs."""
PRODUCTS = {"Gemm": 0, "MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0}
"""Position of the left factor."""


def flops_per_image(path: Path, *, side: int = 224) -> float | None:
    """Count floating-point operations, two per multiply-add, for one image.

    Args:
        path: The ONNX file.
        side: Height and width where the file leaves them open, pixels.

    Returns:
        The number; None where shapes cannot be inferred.
    """
    model = onnx.load(path)
    graph = model.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in graph.input:
        if value.name not in weights:
            for number, axis in enumerate(value.type.tensor_type.shape.dim):
                if number == 0 or axis.dim_value <= 0:
                    axis.dim_value = 1 if number == 0 else side
    for value in [*graph.output, *graph.value_info]:
        value.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in [*graph.input, *graph.value_info, *graph.output]
    } | weights
    total = 0.0
    for node in graph.node:
        if node.op_type in CONVOLUTIONS:
            kernel = shapes.get(node.input[CONVOLUTIONS[node.op_type]], ())
            each = prod(kernel[1:])  # [out, in / groups, height, width]
        elif node.op_type in PRODUCTS:
            left = shapes.get(node.input[PRODUCTS[node.op_type]], ())
            is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
            each = (left[0] if is_transposed else left[-1]) if left else 0
        else:
            continue
        out = prod(shapes.get(node.output[0], (0,)))
        if not each or not out:
            return None
        total += 2.0 * each * out
    return total
