"""Files that exporters and quantisers really write.

The files under ``../shared/models/onnx`` come from other people; they are used where they are
there. What they show is also built by hand in the other tests.
"""

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from worlds.onnx_builders import make_model, save, value

from adapters.onnx.input import RecipeOptions
from adapters.onnx.opening import open_onnx

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models" / "onnx"

IMAGES = np.random.default_rng(3).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)

EXPECTED: dict[str, tuple[str, str, int, str]] = {
    "cifar10_oval_wide_kw_simp.onnx": ("NCHW", "float32", 10, "logits"),
    "cifar10_winml_tutorial.onnx": ("NCHW", "float32", 10, "logits"),
    "gtsrb_marabou_fast.onnx": ("NHWC", "float32", 43, "logits"),
    "imagenet_squeezenet_fp16_winml.onnx": ("NCHW", "float16", 1000, "probabilities"),
    "mnist8_onnxzoo.onnx": ("NCHW", "float32", 10, "logits"),
}

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnxscript") is None,
    reason="exports with torch and onnxscript",
)


@pytest.mark.parametrize("path", sorted(SHARED.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_of_other_people_are_read(path: Path) -> None:
    layout, dtype, num_classes, kind = EXPECTED[path.name]
    with open_onnx(path, num_classes=num_classes) as suspect:
        assert (suspect.recipe.layout, suspect.recipe.dtype) == (layout, dtype)
        assert suspect.trial.kind == kind
        assert suspect.recipe.size is not None
        shape = (3, *suspect.recipe.size, suspect.recipe.channels or 3)
        answer = suspect.predict(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert answer.log_probabilities is not None
    np.testing.assert_allclose(np.exp(answer.log_probabilities).sum(axis=1), 1)


def small_network() -> onnx.ModelProto:
    """Build a convolutional network with random weights, 16 by 16 pixels to 5 classes."""
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in (("kernel", (8, 3, 3, 3)), ("head", (8, 5)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["answer"]),
    ]
    return make_model(
        nodes, [value("image", ["n", 3, 16, 16])], [value("answer", ["n", 5])], weights
    )


def log_probabilities(path: Path) -> NDArray[np.float64]:
    with open_onnx(path, recipe=RecipeOptions(mean=(0.5,), std=(0.5,))) as suspect:
        answer = suspect.predict(IMAGES)
    assert answer.log_probabilities is not None
    return answer.log_probabilities


def test_dynamically_quantised_answers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    full = save(small_network(), tmp_path / "full.onnx")
    quantised = tmp_path / "dynamic.onnx"
    quantize_dynamic(full, quantised, weight_type=QuantType.QUInt8)
    with open_onnx(quantised) as suspect:
        together = suspect.predict(IMAGES).log_probabilities
        alone = suspect.predict(IMAGES[7:8]).log_probabilities
    assert together is not None
    assert alone is not None
    np.testing.assert_array_equal(together[7], alone[0])


def test_statically_quantised_models_answer_like_their_originals(tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the images once."""

        def __init__(self) -> None:
            pixels = IMAGES.transpose(0, 3, 1, 2).astype(np.float32)
            self._batches = iter([{"image": pixels / 127.5 - 1}])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._batches, None)

    logging.disable(logging.WARNING)
    full = save(small_network(), tmp_path / "full.onnx")
    quantised = tmp_path / "qdq.onnx"
    quantize_static(full, quantised, Reader(), quant_format=QuantFormat.QDQ)
    np.testing.assert_allclose(log_probabilities(quantised), log_probabilities(full), atol=0.1)


def test_a_channels_last_graph_with_a_decomposed_softmax_is_read(tmp_path: Path) -> None:
    # As tf2onnx writes Keras models: Transpose in front, Exp / ReduceSum / Div behind.
    rng = np.random.default_rng(2)
    weights = [numpy_helper.from_array(rng.normal(0, 1, (3, 4)).astype(np.float32), "head")]
    nodes = [
        helper.make_node("Transpose", ["input_1:0"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["nchw"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["pooled", "head"], ["logits"]),
        helper.make_node("Exp", ["logits"], ["exp"]),
        helper.make_node("ReduceMean", ["exp"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "four"], ["sum"]),
        helper.make_node("Div", ["exp", "sum"], ["Identity:0"]),
    ]
    weights.append(numpy_helper.from_array(np.array(4, np.float32), "four"))
    model = make_model(
        nodes,
        [value("input_1:0", ["unk__1", 16, 16, 3], TensorProto.FLOAT)],
        [value("Identity:0", ["unk__2", 4])],
        weights,
        opset=13,
    )
    with open_onnx(save(model, tmp_path / "keras.onnx")) as suspect:
        assert suspect.recipe.layout == "NHWC"
        assert suspect.trial.kind == "probabilities"


@needs_torch
@pytest.mark.parametrize("dynamo", [False, True], ids=["script", "dynamo"])
def test_both_modes_of_the_torch_exporter_are_read(tmp_path: Path, dynamo: bool) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()
    example = torch.zeros(2, 3, 16, 16)
    path = tmp_path / "model.onnx"
    axes: dict[str, Any] = {"dynamic_shapes": ({0: "batch"},)} if dynamo else {}
    if not dynamo:
        axes = {"dynamic_axes": {"input": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["input"],
            dynamo=dynamo,
            verbose=False,
            **axes,
        )
    # dynamo writes the weights beside the file, as external data
    assert dynamo == Path(f"{path}.data").exists()
    with torch.no_grad():
        pixels = torch.tensor(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1
        expected = torch.log_softmax(network(pixels).double(), dim=1).numpy()
    np.testing.assert_allclose(log_probabilities(path), expected, atol=1e-4)
