"""The layers of torch networks, by the reader that reads suspects' files.

Exporting takes seconds, reading does not: a network is exported once for its architecture, without
folding anything, so that each stored tensor keeps its name; others of the architecture lend it
their weights.
"""

import copy

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from adapters.weights.layer import NetworkLayers
from adapters.weights.onnx_layers import layers_of
from generator.errors import GenerationError
from generator.sources.onnx_export import quiet

_Architecture = tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]


class LayerReader:
    """Reads networks; remembers what each architecture looks like as a graph.

    Args:
        image_shape: ``(H, W, C)`` of what the networks take.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        height, width, channels = image_shape
        # Two of them: a batch of one is taken for a constant.
        self._example = torch.zeros(2, channels, height, width)
        self._graphs: dict[_Architecture, onnx.ModelProto] = {}

    def read(self, network: nn.Module) -> NetworkLayers:
        """Return the layers of a network that takes pixels ``[N, C, H, W]``.

        Raises:
            GenerationError: It cannot be exported.
        """
        state = network.state_dict()
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in state.items())
        architecture = (repr(network), shapes)
        if architecture not in self._graphs:
            self._graphs[architecture] = self._exported(network)
        graph = self._graphs[architecture]
        for stored in graph.graph.initializer:
            if stored.name in state:
                values = state[stored.name].detach().cpu().contiguous().numpy()
                stored.CopyFrom(numpy_helper.from_array(values, stored.name))
        return layers_of(graph)

    def _exported(self, network: nn.Module) -> onnx.ModelProto:
        try:
            with quiet():
                program = torch.onnx.export(
                    copy.deepcopy(network).cpu().eval(),
                    (self._example,),
                    dynamo=True,
                    optimize=False,
                    verbose=False,
                )
        except Exception as error:
            raise GenerationError(
                "sketch: torch cannot export this network, so that its layers cannot be read "
                f"({type(error).__name__}); craft without --sketch"
            ) from error
        assert program is not None, "a program is returned where no file is named"
        return program.model_proto
