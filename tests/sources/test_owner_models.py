"""An owner's model is read whichever way it was saved, and gives the same logits."""

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from worlds.tiny_task import CLASSES, MEAN, STD, TinyNet, tiny_images, trained_net

from generator.errors import SourceError
from generator.sources.contract import InputContract
from generator.sources.programs import open_source, require_weights
from generator.sources.source import Source, load_source
from generator.sources.torch_suspect import predict_logits

HERE = Path(__file__).parents[1] / "worlds"
FACTORY = f"{HERE / 'tiny_task.py'}:tiny_net"
CONTRACT = InputContract(mean=MEAN, std=STD)
IMAGES = tiny_images(12, 5).images


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained_net(1, tiny_images(90, 1))


@pytest.fixture(scope="module")
def state(model: Any) -> dict[str, Tensor]:
    found: dict[str, Tensor] = model.network.state_dict()
    return found


def opened(name: str, weights: Path | None, num_classes: int = 3) -> Source:
    return open_source(name, weights, CONTRACT, IMAGES, num_classes=num_classes)


def code(folder: Path, body: str, name: str = "nets.py") -> str:
    path = folder / name
    path.write_text(f"import torch\nfrom torch import nn\n{textwrap.dedent(body)}")
    return str(path)


def lightning(state: dict[str, Tensor]) -> dict[str, Any]:
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.1",
        "state_dict": {**named, "criterion.weight": torch.ones(3), "ema.conv.bias": torch.ones(16)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
    }


@pytest.mark.parametrize(
    ("suffix", "wrap"),
    [
        (".pt", lambda state: state),
        (".pth", lambda state: {"model_state_dict": state, "epoch": 3}),
        (".pth.tar", lambda state: {"state_dict": {f"module.{n}": t for n, t in state.items()}}),
        (".ckpt", lightning),
        (".bin", lambda state: {f"net.module.{name}": tensor for name, tensor in state.items()}),
    ],
)
def test_checkpoints_of_every_kind_hold_the_same_network(
    tmp_path: Path, model: nn.Module, state: dict[str, Tensor], suffix: str, wrap: Any
) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(state), path)
    source = opened(FACTORY, path)
    assert np.array_equal(predict_logits(source.model, IMAGES), predict_logits(model, IMAGES))


def test_half_precision_becomes_float32_and_is_told(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "half.safetensors"
    save_file(
        {name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items()}, path
    )
    source = opened(FACTORY, path)
    assert {one.dtype for one in source.model.parameters()} == {torch.float32}
    assert any("bfloat16" in note for note in source.notes)


def test_a_whole_module_is_refused_with_the_safe_way(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(TinyNet(), path)
    with pytest.raises(SourceError, match=r"tiny_task.*torch\.save\(model\.state_dict\(\)") as told:
        opened(FACTORY, path)
    assert "weights_only" not in str(told.value)
    with pytest.raises(SourceError, match=r"no TorchScript file; .* --weights whole\.pt"):
        opened(str(path), None)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"weights: cannot read .*x\.pt"):
        opened(FACTORY, path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(SourceError, match=r"expected a state dict of tensors in .*'epoch'"):
        opened(FACTORY, path)


def test_weights_of_another_architecture_name_the_one_they_fit(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    location = code(
        tmp_path,
        """
        def net(width):
            return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * 100, 3))
        def net8(): return net(8)
        def net16(): return net(16)
        def net32(): return net(32)
        """,
    )
    torch.save(
        nn.Sequential(nn.Conv2d(3, 32, 3), nn.Flatten(), nn.Linear(3200, 3)).state_dict(),
        tmp_path / "w.pt",
    )
    with pytest.raises(SourceError, match=r"0\.weight: expected shape \[8, .*they fit net32"):
        opened(f"{location}:net8", tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"missing bn\.bias, .*unknown 0\.bias"):
        opened(FACTORY, tmp_path / "w.pt")


OUTPUTS = {
    "tuple": "return None, self.head(x), x",
    "dict": "return {'features': x, 'out': self.head(x)}",
    "object": "return __import__('types').SimpleNamespace(loss=None, logits=self.head(x))",
    "map": "return self.head(x)[:, :, None, None]",
    "softmax": "return self.head(x).softmax(1)",
    "log-softmax": "return self.head(x).log_softmax(1)",
    "module": "return self.last(self.head(x))",
    "channels last": "return self.head(x)",
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_whatever_is_returned_becomes_the_same_probabilities(
    tmp_path: Path, model: nn.Module, state: dict[str, Tensor], kind: str
) -> None:
    permuted = "x = x.permute(0, 3, 1, 2)" if kind == "channels last" else ""
    location = code(
        tmp_path,
        f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1)
                self.bn, self.head = nn.BatchNorm2d(16), nn.Linear(16 * 36, 3)
                self.last = nn.Softmax(dim=1)
            def forward(self, x):
                {permuted}
                x = torch.relu(self.bn(self.conv(x))).flatten(1)
                {OUTPUTS[kind]}
        """,
    )
    torch.save(state, tmp_path / "w.pt")
    source = opened(f"{location}:Net", tmp_path / "w.pt")
    expected = torch.from_numpy(predict_logits(model, IMAGES)).log_softmax(1).numpy()
    logits = predict_logits(source.model, IMAGES)
    found = torch.from_numpy(logits).log_softmax(1).numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    if kind == "module":
        # Passed over, not undone: no probability is too small for it.
        assert logits == pytest.approx(predict_logits(model, IMAGES), abs=1e-4)
    sibling = source.sibling(3)
    assert predict_logits(sibling, IMAGES).shape == (12, 3)
    # What a sibling is saved as, the owner's own way reads again.
    torch.save(sibling.network.state_dict(), tmp_path / "sibling.pt")
    again = opened(f"{location}:Net", tmp_path / "sibling.pt")
    assert np.array_equal(predict_logits(again.model, IMAGES), predict_logits(sibling, IMAGES))


@pytest.mark.parametrize("end", ["", ".sigmoid()", "[:, 0]"])
def test_one_value_for_two_classes_is_the_second_ones(tmp_path: Path, end: str) -> None:
    location = code(
        tmp_path,
        f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(432, 1)
            def forward(self, x): return self.head(x.flatten(1)){end}
        """,
    )
    torch.manual_seed(0)
    head = nn.Linear(432, 1)
    torch.save({f"head.{name}": t for name, t in head.state_dict().items()}, tmp_path / "w.pt")
    source = opened(f"{location}:Net", tmp_path / "w.pt", num_classes=2)
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).double() / 255
    values = head.double()((pixels - 0.5).flatten(1) / 0.25)[:, 0]
    logits = predict_logits(source.model, IMAGES)
    assert logits[:, 1] - logits[:, 0] == pytest.approx(values.detach().numpy(), abs=1e-3)


def test_another_number_of_classes_is_told_with_what_is_there(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"logits \[N, 5\] for the 5 classes .*got \[12, 3\]"):
        opened(FACTORY, tmp_path / "w.pt", num_classes=5)


def test_a_factory_imports_its_neighbours(tmp_path: Path, state: dict[str, Tensor]) -> None:
    code(tmp_path, "from worlds.tiny_task import TinyNet as Inner", "owner_layers.py")
    location = code(
        tmp_path, "def net():\n    from owner_layers import Inner\n    return Inner()\n"
    )
    torch.save(state, tmp_path / "w.pt")
    assert opened(f"{location}:net", tmp_path / "w.pt").architecture == "nets.py:net"
    sys.path.remove(str(tmp_path))


def test_a_module_of_the_current_folder_is_found(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    code(tmp_path, "from worlds.tiny_task import tiny_net", "owner_networks.py")
    torch.save(state, tmp_path / "w.pt")
    assert opened("owner_networks:tiny_net", tmp_path / "w.pt").architecture.endswith("tiny_net")


def test_a_factory_that_downloads_is_named_with_what_it_wanted(tmp_path: Path) -> None:
    location = code(
        tmp_path,
        """
        def net():
            from urllib.request import urlopen
            return urlopen("http://127.0.0.1:9/resnet18.pth").read()
        """,
    )
    message = r"it tried to reach http://127\.0\.0\.1:9/resnet18\.pth: .*weights=None"
    with pytest.raises(SourceError, match=message):
        opened(f"{location}:net", tmp_path / "w.pt")


def test_a_factory_with_weights_of_its_own_still_gives_strangers(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    torch.save(state, tmp_path / "w.pt")
    location = code(
        tmp_path,
        f"""
        def net():
            from worlds.tiny_task import tiny_net
            network = tiny_net()
            network.load_state_dict(torch.load({str(tmp_path / "w.pt")!r}, weights_only=True))
            return network
        """,
    )
    source = opened(f"{location}:net", tmp_path / "w.pt")
    assert any("the same weights each time" in note for note in source.notes)
    siblings = [source.sibling(seed).network.conv.weight for seed in (1, 2)]  # type: ignore[union-attr]
    own: Any = source.model.network.conv.weight  # type: ignore[union-attr]
    assert not torch.equal(*siblings)  # type: ignore[arg-type]
    assert not torch.equal(siblings[0], own)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [pytest.param(".pt2", marks=pytest.mark.long), ".pt"])
def test_whole_programs_answer_as_the_network_did_and_can_be_changed(
    tmp_path: Path, model: Any, suffix: str
) -> None:
    pytest.importorskip("onnx2pytorch")
    path = tmp_path / f"program{suffix}"
    inputs = torch.zeros(2, 3, 12, 12)
    if suffix == ".pt2":
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(model.network, (inputs,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
    else:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(model.network, inputs), str(path))  # type: ignore[no-untyped-call]
    source = opened(str(path), None)
    assert source.architecture == path.name
    expected = predict_logits(model, IMAGES)
    assert predict_logits(source.model, IMAGES) == pytest.approx(expected, abs=1e-4)
    assert any(isinstance(module, nn.Conv2d) for module in source.model.modules())


@pytest.mark.parametrize(
    ("model_name", "are_given", "message"),
    [
        ("x.onnx", True, r"expected none with x\.onnx"),
        ("x.pt2", True, r"expected none with x\.pt2"),
        ("x.py:f", False, "expected --weights"),
    ],
)
def test_weights_and_model_have_to_go_together(
    model_name: str, are_given: bool, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        require_weights(model_name, are_given)
    require_weights("timm:resnet18", are_given=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_a_name_of_a_library_is_a_factory(tmp_path: Path, name: str) -> None:
    library = pytest.importorskip(name.partition(":")[0])
    build = library.create_model if name.startswith("timm") else library.models.get_model
    torch.save(build("resnet34", num_classes=3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(SourceError, match="they fit resnet34"):
        opened(name, tmp_path / "w.pt")
    torch.save(build("resnet18", num_classes=3).state_dict(), tmp_path / "w.pt")
    assert opened(name, tmp_path / "w.pt").architecture == name
    with pytest.raises(SourceError, match="knows no model 'resnet1'"):
        opened(name[:-1], tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_hugging_face_is_a_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        num_labels=3, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]
    )
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    source = opened(f"hf:{tmp_path}", None)
    pixels = (torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        expected = model(pixels).logits.numpy()
    assert predict_logits(source.model, IMAGES) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(SourceError, match=r"expected config\.json in"):
        opened(f"hf:{tmp_path / 'no'}", None)


def test_without_images_a_network_is_taken_at_its_word(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    torch.save(state, tmp_path / "w.pt")
    assert load_source(FACTORY, tmp_path / "w.pt", CONTRACT).notes == ()
    assert len(CLASSES) == 3
