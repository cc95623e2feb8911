"""An ONNX graph as a torch module with gradients, through onnx2pytorch.

Whether the module answers as the file does is not decided here (`generator.sources.onnx_source`
compares it with onnxruntime). The converter's habits that matter to training are corrected: weights
are contiguous, batch norm keeps torch's momentum, weights lie in one place only.
"""

import importlib
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adapters.extras import require
from generator.errors import SourceError
from generator.sources.onnx_preparation import prepare

SMALLEST_PROBABILITY = 2.0**-126
"""Smallest normal float32: where logarithms of probabilities are clipped."""
MAX_CONSTANT_VALUES = 4
"""Values of a constant that is a setting (epsilon, a mean per channel) and not learned."""
GIVE_A_FACTORY = "give --model FILE.py:factory with --weights"
"""What to do where a file cannot be converted."""

_STUBBED = ("torchvision", "torchvision.io", "torchvision.ops")


class ConvertedNetwork(nn.Module):
    """A converted graph with the convention of this package.

    Takes normalised pixels ``[N, C, H, W]``, returns logits ``[N, K]``.

    Args:
        graph: From `convert`.
        is_channels_last: Whether the graph wants ``[N, H, W, C]``.
        is_probability: Whether the graph gives probabilities; their logarithms are logits.
        constants: Names of learned values that no layer holds, which training cannot change.
    """

    def __init__(
        self,
        graph: nn.Module,
        *,
        is_channels_last: bool,
        is_probability: bool,
        constants: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.graph = graph
        self.is_channels_last = is_channels_last
        self.is_probability = is_probability
        self.constants = constants

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        if self.is_channels_last:
            images = images.permute(0, 2, 3, 1)
        scores: Tensor = self.graph(images).flatten(1)  # [N, K, 1, 1] -> [N, K]
        return scores.clamp_min(SMALLEST_PROBABILITY).log() if self.is_probability else scores


def convert(
    model: onnx.ModelProto,
    *,
    output: str,
    is_probability: bool,
    is_channels_last: bool,
    name: str,
) -> ConvertedNetwork:
    """Convert the part of a model that leads to one output.

    A softmax at the end is left out, its input are the logits.

    Args:
        model: From `generator.sources.onnx_preparation.parse_model`; is changed.
        output: Name of the output with the classes.
        is_probability: Whether it holds probabilities.
        is_channels_last: Whether the input is ``[N, H, W, C]``.
        name: What errors call the file.

    Raises:
        SourceError: The converter is missing, or does not know an operator; names it.
    """
    converter = _converter()
    is_cut = prepare(model.graph, output)
    with naming_the_operator(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # It would take a torch function of a similar name and ignore the attributes.
        warnings.filterwarnings("error", message="No explicit conversion")
        converted: nn.Module = converter.ConvertModel(model, experimental=True)
    constants = _keep_weights_once(converted)
    for module in converted.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, _BatchNorm):
            # ONNX weighs the old average, torch the new batch: 0.9 there is 0.1 here.
            module.momentum = 0.1
    for parameter in converted.parameters():
        parameter.data = parameter.data.contiguous()
    return ConvertedNetwork(
        converted.eval(),
        is_channels_last=is_channels_last,
        is_probability=is_probability and not is_cut,
        constants=constants,
    )


def restore_batch_norms(network: ConvertedNetwork) -> None:
    """Put a batch norm behind each convolution of a file that has none, in place.

    Exporters fold batch norms into the convolutions before them. Trained weights do not miss them,
    but a deep network that starts from fresh weights hardly learns without.
    """
    graph = network.graph
    if any(isinstance(module, _BatchNorm) for module in graph.modules()):
        return
    for name, layer in list(graph.named_children()):
        # A convolution with uneven padding is a Sequential of both.
        last = layer[-1] if isinstance(layer, nn.Sequential) else layer
        if isinstance(last, nn.Conv2d):
            setattr(graph, name, nn.Sequential(layer, nn.BatchNorm2d(last.out_channels)))


@contextmanager
def naming_the_operator(name: str, advice: str = GIVE_A_FACTORY) -> Iterator[None]:
    """Turn whatever the converter raises into a `SourceError` that names the operator.

    Args:
        name: What the error calls the file.
        advice: What the error says to do.
    """
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        node = _node_of(error)
        at = f"operator {node.op_type} (node {node.name or node.output[0]})" if node else "a node"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"model: {at} in {name} cannot be converted to torch: {reason}; {advice}"
        ) from error


def _node_of(error: BaseException) -> Any:
    """Return the node that the converter was busy with: a local variable of its loops."""
    found, traceback = None, error.__traceback__
    while traceback is not None:
        node = traceback.tb_frame.f_locals.get("node")
        found = node if isinstance(node, onnx.NodeProto) else found
        traceback = traceback.tb_next
    return found


def _converter() -> Any:
    require("onnx2pytorch", by="model: an ONNX file", error=SourceError)
    if "onnx2pytorch" in sys.modules:
        return sys.modules["onnx2pytorch"]
    try:
        with _importable_torchvision():
            return importlib.import_module("onnx2pytorch")
    except ImportError as error:
        raise SourceError(
            "model: an ONNX file needs the converter onnx2pytorch, which cannot be imported "
            f"({error})"
        ) from error


@contextmanager
def _importable_torchvision() -> Iterator[None]:
    """Let the converter import torchvision where there is none, or one that does not load.

    It needs torchvision for detection operators only, but imports it in any case.
    """
    try:
        importlib.import_module("torchvision")
    except Exception:  # a build for another torch fails with RuntimeError
        saved = {name: sys.modules.get(name) for name in _STUBBED}
        sys.modules.update({name: _Stub(name) for name in _STUBBED})
        try:
            yield
        finally:
            for name, module in saved.items():
                del sys.modules[name]
                if module is not None:
                    sys.modules[name] = module
    else:
        yield


class _Stub(types.ModuleType):
    """A module in which every name is there and is None."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def _keep_weights_once(converted: Any) -> tuple[str, ...]:
    """Drop the converter's second copy of weights that a layer holds.

    Returns:
        Names of the learned values that no layer holds.
    """
    constants = importlib.import_module("onnx2pytorch.constants")
    get_buffer_name = importlib.import_module("onnx2pytorch.convert.operations").get_buffer_name
    read: set[str] = set()
    graph = converted.onnx_model.graph
    for node in graph.node:
        layer = getattr(converted, converted.mapping[node.output[0]])
        parts = layer.modules() if isinstance(layer, constants.COMPOSITE_LAYERS) else (layer,)
        if not any(isinstance(part, constants.STANDARD_LAYERS) for part in parts):
            read.update(node.input)
    learned: list[str] = []
    for tensor in graph.initializer:
        buffer_name = get_buffer_name(tensor.name)
        held = getattr(converted, buffer_name)
        if tensor.name not in read:
            delattr(converted, buffer_name)
        elif (
            isinstance(held, torch.Tensor)
            and held.is_floating_point()
            and held.numel() > MAX_CONSTANT_VALUES
        ):
            learned.append(tensor.name)
    # Every copy of the module would carry the file's weights once more.
    graph.ClearField("initializer")
    return tuple(learned)
