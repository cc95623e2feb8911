"""Values of a graph's constant expressions: weights that are stored in another form.

Exporters transpose, reshape, cast, scale and dequantise stored tensors. Whatever is computed from
stored tensors alone by such operators is evaluated by onnxruntime, all of it in one session. Runs
where the file is parsed only. Operators that loop, branch or draw are never run here.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import ExternalDataInfo

FOLDABLE = frozenset(
    {"Add", "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "DequantizeLinear", "Div",
     "Expand", "Flatten", "Gather", "Identity", "Mul", "Neg", "Pad", "QuantizeLinear", "Range",
     "Reciprocal", "Reshape", "Shape", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile",
     "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that take time in proportion to what they make."""

MAX_EXPRESSIONS = 20_000
"""Nodes that are evaluated at most."""
EVALUATION_S = 5.0
"""Time that they may take, seconds."""
_LOG_FATAL_ONLY = 4


class Constants:
    """The constants of one graph, by name.

    Args:
        model: Parsed and guarded (`adapters.onnx.process.graph.describe`), functions written out.
        folder: Where external data lies.
    """

    def __init__(self, model: onnx.ModelProto, folder: str) -> None:
        self._model, self._folder = model, folder
        graph = model.graph
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._makers: dict[str, onnx.NodeProto] = {}
        known = set(self._stored)
        for node in graph.node:
            if node.op_type in FOLDABLE and all(not one or one in known for one in node.input):
                known.update(node.output)
                self._makers.update({name: node for name in node.output if name})
        self._values: dict[str, NDArray[Any]] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether a value follows from the file alone."""
        return name in self._stored or name in self._makers

    def size(self, name: str) -> int | None:
        """Return how many numbers a stored tensor claims to have; None for what is computed."""
        tensor = self._stored.get(name)
        return None if tensor is None else int(np.prod(tensor.dims, dtype=object))

    def evaluate(self, names: Iterable[str]) -> None:
        """Compute those of some values that are expressions; what cannot be had is left out."""
        wanted = [name for name in dict.fromkeys(names) if name in self._makers]
        nodes: dict[int, onnx.NodeProto] = {}
        stored: dict[str, onnx.TensorProto] = {}
        pending = list(wanted)
        while pending:
            name = pending.pop()
            if name in self._stored:
                stored[name] = self._stored[name]
            elif name and id(self._makers[name]) not in nodes:
                nodes[id(self._makers[name])] = self._makers[name]
                pending += self._makers[name].input
        if not wanted or len(nodes) > MAX_EXPRESSIONS:
            return
        in_order = [node for node in self._model.graph.node if id(node) in nodes]
        self._values.update(self._run(in_order, stored, wanted))

    def value(self, name: str) -> NDArray[Any] | None:
        """Return a value; None where it is not constant, or could not be had."""
        if name in self._values:
            return self._values[name]
        tensor = self._stored.get(name)
        if tensor is None:
            return None
        try:
            return numpy_helper.to_array(tensor, self._folder)
        except (ValueError, TypeError, OSError, onnx.checker.ValidationError):
            return None

    def _run(
        self,
        nodes: list[onnx.NodeProto],
        stored: Mapping[str, onnx.TensorProto],
        wanted: list[str],
    ) -> dict[str, NDArray[Any]]:
        if any(_is_elsewhere(tensor) for tensor in stored.values()):
            # A model in memory has no folder that its tensors could lie in.
            values = {name: self.value(name) for name in stored}
            stored = {
                name: numpy_helper.from_array(value, name)
                for name, value in values.items()
                if value is not None
            }
        outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
        graph = onnx.GraphProto(
            name="constants", node=nodes, initializer=stored.values(), output=outputs
        )
        model = onnx.ModelProto(
            ir_version=self._model.ir_version,
            graph=graph,
            opset_import=self._model.opset_import,
        )
        options, limits = onnxruntime.SessionOptions(), onnxruntime.RunOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = limits.log_severity_level = _LOG_FATAL_ONLY
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        end = threading.Timer(EVALUATION_S, setattr, (limits, "terminate", True))
        end.daemon = True
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            end.start()
            made: list[NDArray[Any]] = session.run(wanted, {}, limits)
        except Exception:  # whatever a stranger's graph makes of it, its weights stay hidden
            return {}
        finally:
            end.cancel()
        return dict(zip(wanted, made, strict=True))


def _is_elsewhere(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.external_data) and bool(ExternalDataInfo(tensor).location)
