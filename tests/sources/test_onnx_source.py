"""An owner whose model is an ONNX file crafts as one with torch weights does."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from worlds.exporters.legacy import export_legacy
from worlds.in_process import run
from worlds.onnx_builders import make_model, save, value
from worlds.tiny_task import MEAN, STD, tiny_images
from worlds.tiny_world import TinyWorld

from audit.bundle.bundle_file import read_bundle
from audit.signing.keys import load_trust
from generator.errors import SourceError
from generator.sources.contract import InputContract
from generator.sources.onnx_export import export_onnx
from generator.sources.onnx_source import load_onnx_source
from generator.sources.source import Normalised, Source
from generator.sources.torch_suspect import predict_logits
from generator.training.loop import TrainingRecipe, train

SHAPE = (12, 12, 3)
IMAGES = tiny_images(12, 5).images


class Residual(nn.Module):
    """One residual block between a strided convolution and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(12)
        self.conv = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12 * 6 * 6, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = torch.relu(self.stem_norm(self.stem(images)))
        block = torch.relu(stem + self.norm(self.conv(stem)))
        logits: Tensor = self.head(block.flatten(1))
        return logits


EXPORTERS: dict[str, Callable[..., None]] = {"dynamo": export_onnx, "legacy": export_legacy}


@pytest.fixture(scope="module")
def trained() -> Normalised:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Normalised(Residual(), MEAN, STD)
    recipe = TrainingRecipe(epochs=10, batch_size=32, learning_rate=0.02, augment=False)
    train(model, tiny_images(300, 1), recipe, generator=torch.Generator().manual_seed(3))
    return model


def load(path: Path, images: NDArray[np.uint8] = IMAGES, num_classes: int = 3) -> Source:
    return load_onnx_source(
        path, images, num_classes=num_classes, contract=InputContract(mean=MEAN, std=STD)
    )


def linear_model(*tail: onnx.NodeProto, opset: int = 17) -> onnx.ModelProto:
    """Flatten and a linear layer to ``scores``, then the nodes of ``tail`` up to ``answer``."""
    weights = np.random.default_rng(0).normal(0, 0.1, (432, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        *(tail or [helper.make_node("Identity", ["scores"], ["answer"])]),
    ]
    return make_model(
        nodes,
        [value("image", ["n", 3, 12, 12])],
        [value("answer", None)],
        [numpy_helper.from_array(weights, "weights")],
        opset=opset,
    )


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_bundle_crafted_from_the_file_holds_for_the_torch_model_and_finds_its_copy(
    tiny_world: TinyWorld, trained: Normalised, tmp_path: Path, exporter: str
) -> None:
    model, out = tmp_path / "residual.onnx", tmp_path / "from-onnx.kinprint"
    EXPORTERS[exporter](trained.network, model, image_shape=SHAPE)
    arguments = tiny_world.craft_arguments(out, model=str(model), alpha="0.2", beta="0.2")
    done = run(*(a for a in arguments if not a.startswith("--weights")))
    assert done.returncode == 0, done.stderr
    bundle = read_bundle(out, load_trust([tiny_world.public_key]))
    assert bundle.manifest.source.architecture == "residual.onnx"
    assert bundle.manifest.model_name == "residual"
    # The bundle says what the converted file answers; the torch weights must say the same.
    logits = torch.from_numpy(predict_logits(trained, bundle.arrays.triggers))
    np.testing.assert_allclose(
        bundle.arrays.source_trigger_log_probabilities,
        torch.log_softmax(logits, dim=1).numpy(),
        atol=1e-4,
    )
    labels = predict_logits(trained, bundle.arrays.queries).argmax(axis=1)
    np.testing.assert_array_equal(bundle.arrays.source_query_labels, labels)
    trust = ["--trust", tiny_world.public_key, "--journal", tmp_path / "j.sqlite"]
    audited = run("audit", out, *trust, "--onnx", model)
    assert audited.returncode == 10, audited.stdout + audited.stderr


@pytest.mark.parametrize("tail", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_a_last_activation_is_taken_off_or_undone(tmp_path: Path, tail: str) -> None:
    plain = load(save(linear_model(), tmp_path / "plain.onnx"))
    node = helper.make_node(tail, ["scores"], ["answer"])
    with_tail = load(save(linear_model(node), tmp_path / "tail.onnx"))
    expected, got = (predict_logits(s.model, IMAGES) for s in (plain, with_tail))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_sibling_has_other_weights_and_the_seed_decides_which(
    trained: Normalised, tmp_path: Path
) -> None:
    export_legacy(trained.network, tmp_path / "m.onnx", image_shape=SHAPE)
    source = load(tmp_path / "m.onnx")
    own = predict_logits(source.model, IMAGES)
    first, again, other = (predict_logits(source.sibling(s), IMAGES) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - own).max() > 0.01
    np.testing.assert_array_equal(predict_logits(source.model, IMAGES), own)
    source_weights = {weights.data_ptr() for weights in source.model.parameters()}
    assert not source_weights & {weights.data_ptr() for weights in source.sibling(1).parameters()}


def test_siblings_get_back_the_batch_norms_that_exporters_fold_away(
    trained: Normalised, tmp_path: Path
) -> None:
    export_legacy(trained.network, tmp_path / "m.onnx", image_shape=SHAPE)
    source = load(tmp_path / "m.onnx")
    for model, num in ((source.model, 0), (source.sibling(1), 2)):
        assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == num
        assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 2


def test_learned_values_outside_layers_allow_no_sibling(tmp_path: Path) -> None:
    model = linear_model(
        helper.make_node("Mul", ["flat", "gains"], ["gained"]),
        helper.make_node("MatMul", ["gained", "weights"], ["answer"]),
    )
    gains = np.linspace(0.5, 2, 432, dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(gains, "gains"))
    source = load(save(model, tmp_path / "m.onnx"))
    with pytest.raises(SourceError, match=r"learned values outside its layers \(gains\).*--refer"):
        source.sibling(1)


def test_an_operator_that_cannot_be_converted_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Bogus", ["scores"], ["answer"], domain="com.microsoft")
    with pytest.raises(SourceError, match=r"operator com.microsoft.Bogus in m.onnx cannot be conv"):
        load(save(linear_model(node), tmp_path / "m.onnx"))
    model = linear_model(
        helper.make_node("Conv", ["image", "made"], ["maps"], name="made-conv"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["answer"]),
    )
    model.graph.node.insert(0, helper.make_node("Neg", ["kernel"], ["made"]))
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    with pytest.raises(SourceError, match=r"operator Conv \(node made-conv\) in m.onnx cannot be"):
        load(save(model, tmp_path / "m.onnx"))


def test_external_data_and_unknown_opsets_are_refused(tmp_path: Path) -> None:
    path = save(linear_model(), tmp_path / "m.onnx")
    onnx.save_model(
        onnx.load(path), tmp_path / "e.onnx", save_as_external_data=True, size_threshold=0
    )
    with pytest.raises(SourceError, match="got external data for weights; export with external_"):
        load(tmp_path / "e.onnx")
    for opset in (6, 99):
        with pytest.raises(SourceError, match=rf"expected an opset of 7 to \d+, got {opset} in m"):
            load(save(linear_model(opset=opset), tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").write_bytes(b"GIF89a")
    with pytest.raises(SourceError, match=r"expected an ONNX model, got other bytes in m.onnx"):
        load(tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=r"cannot read .*nothing.onnx"):
        load(tmp_path / "nothing.onnx")


def test_a_conversion_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    # Weights on the left of MatMul: the converter multiplies from the right all the same.
    model = linear_model()
    model.graph.node[0].input[0] = "mixed"
    model.graph.node.insert(0, helper.make_node("MatMul", ["mixer", "image"], ["mixed"]))
    mixer = np.random.default_rng(1).normal(size=(12, 12)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(mixer, "mixer"))
    with pytest.raises(SourceError, match=r"on natural images log-probabilities differ by .* most"):
        load(save(model, tmp_path / "m.onnx"))


def test_a_file_for_one_image_at_a_time_is_told_apart(tmp_path: Path) -> None:
    model = linear_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    load(save(model, tmp_path / "free-inside.onnx"))
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["image", "one_row"], ["flat"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 432]), "one_row"))
    with pytest.raises(SourceError, match=r"operator Reshape .* batches of 1; export it with a fr"):
        load(save(model, tmp_path / "m.onnx"))


def test_a_model_without_gradients_is_refused(tmp_path: Path) -> None:
    tail = [
        helper.make_node("Mul", ["scores", "ten"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["answer"]),
    ]
    model = linear_model(*tail)
    model.graph.initializer.append(numpy_helper.from_array(np.array(10, np.float32), "ten"))
    with pytest.raises(SourceError, match="expected finite gradients that are not zero from m"):
        load(save(model, tmp_path / "m.onnx"))


def test_the_images_must_have_the_size_and_classes_of_the_file(tmp_path: Path) -> None:
    path = save(linear_model(), tmp_path / "m.onnx")
    with pytest.raises(
        SourceError, match=r"images: expected 12 by 12 pixels as m.onnx does, got 8"
    ):
        load(path, IMAGES[:, :8, :8])
    with pytest.raises(SourceError, match="num_classes: expected 7"):
        load(path, num_classes=7)
    model = linear_model(helper.make_node("ArgMax", ["scores"], ["answer"], axis=1, keepdims=0))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(SourceError, match="got the class alone"):
        load(save(model, tmp_path / "m.onnx"))


def test_no_stub_of_torchvision_stays_behind(tmp_path: Path) -> None:
    load(save(linear_model(), tmp_path / "m.onnx"))
    assert "onnx2pytorch" in sys.modules
    stubs = [m for name, m in sys.modules.items() if name.startswith("torchvision") and m]
    assert all(getattr(module, "__file__", None) for module in stubs)


def test_without_the_converter_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx2pytorch", None)
    with pytest.raises(
        SourceError,
        match=r"model: an ONNX file needs onnx2pytorch.*pip install \"kinprint\[onnx-source\]\"",
    ):
        load(save(linear_model(), tmp_path / "m.onnx"))


def test_weights_belong_to_a_factory_and_not_to_a_file(
    tiny_world: TinyWorld, tmp_path: Path
) -> None:
    model = str(tiny_world.folder / "copy.onnx")
    done = run(*tiny_world.craft_arguments(tmp_path / "x.kinprint", model=model))
    assert done.returncode == 2
    assert "weights: expected none with copy.onnx as --model" in done.stderr
