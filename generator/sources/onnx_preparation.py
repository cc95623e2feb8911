"""An owner's ONNX file, read and brought into the form that the converter to torch wants.

Follows the ONNX IR specification (docs/IR.md). The file is the owner's own and is parsed in this
process; a stranger's never is (`adapters.onnx.process.graph`).
"""

import onnx
import onnx.inliner

from generator.errors import SourceError

MIN_OPSET = 7
"""Where broadcasting and batch norm took the form that onnxruntime and the converter know."""
STANDARD_DOMAINS = ("", "ai.onnx")


def parse_model(data: bytes, name: str) -> onnx.ModelProto:
    """Parse an owner's file and check what can be seen without running it.

    Args:
        data: The file's bytes.
        name: What errors call it.

    Raises:
        SourceError: No ONNX model, external data, or an opset that is too old or too new.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError has no public home
        raise SourceError(f"model: expected an ONNX model, got other bytes in {name}") from error
    if not model.graph.node or not model.graph.output:
        raise SourceError(f"model: expected an ONNX model with nodes and outputs, got {name}")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise SourceError(
                f"model: expected all weights inside {name}, got external data for "
                f"{tensor.name}; export with external_data=False, or join the files with "
                'onnx.save_model(onnx.load("model.onnx"), "joined.onnx")'
            )
    opset = max((o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise SourceError(
            f"model: expected an opset of {MIN_OPSET} to {newest}, got {opset} in {name}; export "
            "it anew, or use onnx.version_converter.convert_version"
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            raise SourceError(
                f"model: operator {node.domain}.{node.op_type} in {name} cannot be converted to "
                "torch: expected standard ONNX operators; export without fusing or quantising, or "
                "give --model FILE.py:factory with --weights"
            )
    return model


def prepare(graph: onnx.GraphProto, output: str) -> bool:
    """Reduce a graph to what leads to one output, without a softmax at its end.

    Args:
        graph: Of a model from `parse_model`; is changed.
        output: Name of the output with the classes.

    Returns:
        Whether a softmax was cut off, so that the graph gives logits now.
    """
    _constants_to_initializers(graph)
    logits = _before_activation(graph, output)
    _keep_only(graph, logits or output)
    return logits is not None


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Make tensors of Constant nodes initializers, as the converter wants weights to be."""
    kept = []
    for node in graph.node:
        values = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
        if node.op_type == "Constant" and values:
            graph.initializer.add().CopyFrom(values[0])
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    _replace_nodes(graph, kept)


def _before_activation(graph: onnx.GraphProto, output: str) -> str | None:
    """Return what goes into the softmax, or the sigmoids, that make an output, None if none do."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ("Softmax", "LogSoftmax", "Sigmoid"):
        return None
    return str(node.input[0])


def _keep_only(graph: onnx.GraphProto, output: str) -> None:
    """Drop every node and initializer that an output does not need, and the other outputs."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in attribute.g.node:
                    needed.update(inner.input)
    _replace_nodes(graph, kept[::-1])
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    inputs = [value for value in graph.input if value.name in needed]
    for field, values in (("initializer", initializers), ("input", inputs)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    graph.ClearField("output")
    graph.output.add(name=output)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
