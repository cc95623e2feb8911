"""``python -m audit.calibrating.changed_weights HOW``: ONNX files with other weights.

Standard input is a JSON array of pairs, a file and its copy's path. A process of its own: whatever
a file does to the library that parses it, nobody else's memory is there. A file that cannot be
changed has no copy in the end.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import numpy as np

_MOVED = 0.05
"""Standard deviation of the noise, in those of the tensor."""


def main() -> None:
    """Change every file that can be changed."""
    how = sys.argv[1]
    for source, target in json.loads(sys.stdin.read()):
        partial = Path(f"{target}.part")
        with contextlib.suppress(Exception):
            if how == "int8":
                _quantise(source, partial)
            else:
                _move(source, partial)
            os.replace(partial, target)


def _quantise(source: str, target: Path) -> None:
    """Write a copy with weights in eight bits, as onnxruntime quantises for servers."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    # Shapes that an exporter wrote down are wrong once the quantiser has turned a matrix round.
    del model.graph.value_info[:]
    # Unsigned: convolutions with signed weights have no kernel on a processor.
    quantize_dynamic(model, target, weight_type=QuantType.QUInt8)


def _move(source: str, target: Path) -> None:
    """Write a copy whose matrices and filters are moved by a little noise, always the same."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim < 2 or not np.issubdtype(weights.dtype, np.floating):
            continue
        noise = rng.normal(0.0, _MOVED * float(weights.std()), weights.shape)
        moved = (weights + noise).astype(weights.dtype)
        tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
    onnx.save(model, target)


if __name__ == "__main__":
    main()
