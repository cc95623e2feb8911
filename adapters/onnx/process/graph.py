"""Parse an ONNX file's bytes, refuse what no audit needs, and describe the rest.

Runs in the suspect's own process only: parsing a stranger's protobuf is part of the risk.
Follows the ONNX IR specification (docs/IR.md, docs/ExternalData.md). Never reads another file:
external data is listed, not opened.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from adapters.onnx.process.functions import (
    FunctionKey,
    RecursiveFunctionError,
    num_nodes_written_out,
)
from adapters.onnx.process.messages import OF_METADATA, Description, TensorDescription
from adapters.onnx.process.other_files import what_it_is
from adapters.printable import printable

KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training",
     "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
)  # fmt: skip
"""Operator sets that onnxruntime brings itself; anything else needs a library of the vendor's."""

REFUSED_OPERATORS = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "PyOp"})
"""Operators that load further files or run foreign code."""

RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
     "Bernoulli"}
)  # fmt: skip

TRANSPARENT_OPERATORS = frozenset(
    {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Transpose",
     "DequantizeLinear", "QuantizeLinear"}
)  # fmt: skip
"""Operators that leave the meaning of scores alone."""

MAX_METADATA_CHARACTERS = 20_000
MAX_TENSORS_DESCRIBED = 256
MAX_NAME_CHARACTERS = 1000


class NotOnnxError(Exception):
    """The bytes are no ONNX model."""


class RefusedError(Exception):
    """The model asks for something that an audit does not allow."""


def describe(data: bytes, *, max_nodes: int) -> Description:
    """Parse, guard and describe a file.

    Args:
        data: The file's bytes.
        max_nodes: Largest number of nodes, subgraphs included and calls of functions written out.

    Returns:
        What the file says about itself.

    Raises:
        NotOnnxError: The bytes are no ONNX model.
        RefusedError: Too many nodes, a function that calls itself, a custom operator, external data
            outside the folder.
    """
    model = _parse(data)
    functions = {(function.domain, function.name) for function in model.functions}
    operators: Counter[str] = Counter()
    external: dict[str, None] = {}
    random_operators: dict[str, None] = {}
    num_parameters = 0
    for item in _walk(_roots(model)):
        if isinstance(item, onnx.NodeProto):
            operators[f"{item.domain}.{item.op_type}" if item.domain else item.op_type] += 1
            if operators.total() > max_nodes:
                raise RefusedError(f"nodes: expected at most {max_nodes}, got more")
            _check_operator(item, functions)
            if item.op_type in RANDOM_OPERATORS:
                random_operators[item.op_type] = None
            # The third input is training_mode (opset 12).
            if item.op_type == "Dropout" and len(item.input) > 2 and item.input[2]:
                random_operators["Dropout"] = None
        else:
            num_parameters += _num_values(item)
            location = _external_location(item)
            if location is not None:
                external[location] = None
    _check_written_out(model, max_nodes)
    initializers = {tensor.name for tensor in model.graph.initializer}
    initializers |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    makers = {name: node for node in model.graph.node for name in node.output if name}
    return Description(
        inputs=tuple(
            _tensor(value) for value in model.graph.input if value.name not in initializers
        )[:MAX_TENSORS_DESCRIBED],
        outputs=tuple(
            _tensor(value, operator=_score_operator(value.name, makers))
            for value in model.graph.output
        )[:MAX_TENSORS_DESCRIBED],
        opset=max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        ir_version=model.ir_version,
        producer=printable(f"{model.producer_name} {model.producer_version}".strip()[:200]),
        operators={
            printable(name[:80]): count
            for name, count in operators.most_common(MAX_TENSORS_DESCRIBED)
        },
        # Sizes are claims, which multiply to anything.
        num_parameters=min(num_parameters, 2**63 - 1),
        metadata=_metadata(model),
        external_files=tuple(external),
        random_operators=tuple(random_operators),
    )


def _parse(data: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        found = what_it_is(data) or f"{len(data)} other bytes"
        raise NotOnnxError(f"file: expected an ONNX model, got {found}") from error
    if not model.ir_version or not model.graph.node or not model.graph.output:
        found = what_it_is(data) or f"{len(data)} bytes without"
        raise NotOnnxError(f"file: expected an ONNX model with nodes and outputs, got {found}")
    return model


def _roots(model: onnx.ModelProto) -> list[Any]:
    roots: list[Any] = [model.graph, *model.functions]
    # Never run, but what its tensors name is looked at like everything else.
    for training in model.training_info:
        roots += [training.initialization, training.algorithm]
    return roots


def _walk(roots: list[Any]) -> Iterator[Any]:
    """Yield every NodeProto and TensorProto of graphs and functions, however deep it lies."""
    pending = list(roots)
    # A list and no recursion: graphs nest as deep as whoever made them wants.
    while pending:
        item = pending.pop()
        if isinstance(item, onnx.TensorProto):
            yield item
        elif isinstance(item, onnx.SparseTensorProto):
            pending += [item.values, item.indices]
        elif isinstance(item, onnx.AttributeProto):
            pending += [*item.tensors, *item.graphs, *item.sparse_tensors]
            for name in ("t", "g", "sparse_tensor"):
                if item.HasField(name):
                    pending.append(getattr(item, name))
        elif isinstance(item, onnx.NodeProto):
            yield item
            pending += item.attribute
        elif isinstance(item, onnx.FunctionProto):
            pending += [*item.node, *item.attribute_proto]
        else:
            pending += [*item.node, *item.initializer, *item.sparse_initializer]


def _check_written_out(model: onnx.ModelProto, max_nodes: int) -> None:
    """Refuse what grows beyond bounds when a runtime writes its functions out."""
    functions = {
        _function_key(function.domain, function.name, function): _called([function])
        for function in model.functions
    }
    if not functions:
        return
    try:
        num_nodes = num_nodes_written_out(_called([model.graph]), functions, most=max_nodes)
    except RecursiveFunctionError as error:
        raise RefusedError(
            f"functions: expected none that calls itself, got {str(error)[:80]!r}"
        ) from error
    if num_nodes > max_nodes:
        raise RefusedError(
            f"nodes: expected at most {max_nodes} with functions written out, got more"
        )


def _called(roots: list[Any]) -> list[FunctionKey]:
    nodes = (item for item in _walk(roots) if isinstance(item, onnx.NodeProto))
    return [_function_key(node.domain, node.op_type, node) for node in nodes]


def _function_key(domain: str, name: str, of: Any) -> FunctionKey:
    # Both spellings mean the default domain; older files have no overloads.
    return "" if domain == "ai.onnx" else domain, name, getattr(of, "overload", "")


def _check_operator(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> None:
    if node.op_type in REFUSED_OPERATORS:
        raise RefusedError(f"operator: {node.op_type} loads other code or files, which is refused")
    if node.domain not in KNOWN_DOMAINS and (node.domain, node.op_type) not in functions:
        raise RefusedError(
            f"operator: expected standard ones, got {node.op_type[:80]!r} of the domain "
            f"{node.domain[:80]!r}; custom operators would run the vendor's code and are refused"
        )


def _num_values(tensor: onnx.TensorProto) -> int:
    num_values = 1
    for size in tensor.dims:
        if size < 0:
            raise RefusedError(
                f"tensor {tensor.name[:80]!r}: expected sizes of at least 0, got {size}"
            )
        num_values *= size
    return num_values


def _external_location(tensor: onnx.TensorProto) -> str | None:
    """Return where the tensor's values lie outside the file, None if inside."""
    # Either sign is enough: which of them a runtime goes by is its own affair.
    if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
        return None
    locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
    if len(locations) != 1 or not locations[0]:
        raise RefusedError(
            f"tensor {tensor.name[:80]!r}: expected one location of its external data, "
            f"got {len(locations)}"
        )
    path = PurePosixPath(locations[0])
    # Backslash and colon separate folders and drives on Windows.
    if path.is_absolute() or ".." in path.parts or set(locations[0]) & set("\\:*\0"):
        raise RefusedError(
            f"external data: expected a file in the model's own folder, got {locations[0][:200]!r}"
        )
    return str(path)


def _tensor(value: onnx.ValueInfoProto, operator: str = "") -> TensorDescription:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "no type"
        return TensorDescription(name=_name(value.name), dtype=kind, shape=None, operator=operator)
    tensor = value.type.tensor_type
    dtype = "undefined"
    if tensor.elem_type in onnx.TensorProto.DataType.values():
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    shape: tuple[int | str | None, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            # Exporters write 0 and -1 where they mean "any".
            (axis.dim_value if axis.dim_value > 0 else None)
            if axis.HasField("dim_value")
            else (printable(axis.dim_param[:80]) or None)
            for axis in tensor.shape.dim
        )
    return TensorDescription(name=_name(value.name), dtype=dtype, shape=shape, operator=operator)


def _name(name: str) -> str:
    """Return the name of an input or output, which people will read and type."""
    if not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise RefusedError(
            f"name: expected at most {MAX_NAME_CHARACTERS} printable characters, got {name[:80]!r}"
        )
    return name


def _score_operator(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    """Return the operator behind an output; ``LogSoftmax`` for a Log of a Softmax."""
    operator = ""
    # Bounded, because nothing keeps a stranger's graph from running in circles.
    for _ in range(64):
        node = makers.get(name)
        if node is None:
            break
        if node.op_type == "Log" and not operator:
            operator = "Log"
        elif node.op_type not in TRANSPARENT_OPERATORS:
            return f"{operator}{node.op_type}" if node.op_type == "Softmax" else (
                operator or node.op_type
            )  # fmt: skip
        if not node.input:
            break
        name = node.input[0]
    return operator


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for entry in model.metadata_props[:MAX_TENSORS_DESCRIBED]:
        value = printable(entry.value[:MAX_METADATA_CHARACTERS], allowed=OF_METADATA)
        metadata[printable(entry.key[:200])] = value
    return metadata
