"""Small networks of PyTorch as ONNX files by both of its exporters, and quantised copies.

Run by the Python that runs the tests, which has them: ``python build_torch.py FOLDER``.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from build_common import SIDE, Writer, images_and_labels
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from torch import Tensor, nn


class Net(nn.Module):
    """A small network with whatever stands behind its logits or before its pixels."""

    def __init__(
        self,
        after: Callable[[Tensor], Any] | None = None,
        before: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)
        self.after, self.before = after, before

    def forward(self, pixels: Tensor) -> Any:
        """Return what the file answers."""
        if self.before is not None:
            pixels = self.before(pixels)
        features = torch.relu(self.norm(self.conv(pixels))).mean((2, 3))
        logits = self.head(features)
        return logits if self.after is None else self.after(logits)


def trained_weights() -> dict[str, Tensor]:
    """Return weights that have seen the images."""
    torch.manual_seed(0)
    images, labels = images_and_labels()
    net, pixels = Net(), unit(images)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(pixels), torch.from_numpy(labels)).backward()
        optimizer.step()
    return net.state_dict()


def unit(images: NDArray[np.uint8]) -> Tensor:
    """Return pixels in [0, 1], ``[N, 3, H, W]``."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "softmax": lambda logits: logits.softmax(1),
    "log-softmax": lambda logits: logits.log_softmax(1),
    "sigmoids": torch.sigmoid,
    "class": lambda logits: logits.argmax(1),
    "class and probabilities": lambda logits: (logits.argmax(1), logits.softmax(1)),
    "best two": lambda logits: tuple(torch.topk(logits.softmax(1), 2)),
    "further axes": lambda logits: logits[:, :, None, None],
    "background": lambda logits: nn.functional.pad(logits, (1, 0), value=-20.0),
}
INPUTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "channels last": (lambda x: x.permute(0, 3, 1, 2), lambda x: x.permute(0, 2, 3, 1)),
    "rows": (lambda x: x.reshape(-1, 3, SIDE, SIDE), lambda x: x.flatten(1)),
}


def main(folder: Path) -> None:
    """Write all files."""
    writer, weights = Writer(folder), trained_weights()
    images, _ = images_and_labels()
    pixels = unit(images)

    def net(**options: Any) -> Net:
        made = Net(**options)
        made.load_state_dict(weights)
        return made.eval()

    answers = net()(pixels).argmax(1).numpy()

    def export(
        name: str, network: Net, example: Tensor, *, dynamo: bool, free: bool = True
    ) -> None:
        exporter = "new" if dynamo else "TorchScript"
        if dynamo:
            shapes = {"dynamic_shapes": ({0: "batch"},)} if free else {}
            torch.onnx.export(
                network, (example,), str(writer.path()), dynamo=True, external_data=False,
                verbose=False, **shapes,
            )  # fmt: skip
        else:
            axes = {"dynamic_axes": {"x": {0: "n"}}} if free else {}
            torch.onnx.export(
                network, (example,), str(writer.path()), dynamo=False, opset_version=13,
                input_names=["x"], **axes,
            )  # fmt: skip
        writer.write(f"torch {name} ({exporter} exporter)", "torch", None, answers)

    for dynamo in (False, True):
        export("logits", net(), pixels[:2], dynamo=dynamo)
        for name, after in FORMS.items():
            export(name, net(after=after), pixels[:2], dynamo=dynamo)
        for name, (before, change) in INPUTS.items():
            export(name, net(before=before), change(pixels[:2]), dynamo=dynamo)
        export("batch of four", net(), pixels[:4], dynamo=dynamo, free=False)
    quantise(folder, writer, pixels, net, answers)
    writer.finish()


def quantise(
    folder: Path, writer: Writer, pixels: Tensor, net: Callable[[], Net], answers: NDArray[Any]
) -> None:
    """Write copies of one file by onnxruntime's quantiser."""
    path = folder / "float.onnx.part"
    torch.onnx.export(
        net(), (pixels[:2],), str(path), dynamo=False, opset_version=13, input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip

    class Images(CalibrationDataReader):  # type: ignore[misc]  # untyped library
        def __init__(self) -> None:
            self._left: Iterator[Tensor] = iter(pixels.split(20))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            part = next(self._left, None)
            return None if part is None else {"x": part.numpy()}

    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(str(path), str(writer.path()), Images(), quant_format=form)
        writer.write(f"onnxruntime static, {form.name}", "onnxruntime-gpu", None, answers)
    quantize_dynamic(str(path), str(writer.path()), weight_type=QuantType.QUInt8)
    writer.write("onnxruntime dynamic", "onnxruntime-gpu", None, answers)
    model = onnx.load(str(path))
    onnx.save(model, str(writer.path()), save_as_external_data=True, location="weights.bin",
              size_threshold=0)  # fmt: skip
    writer.write("onnx external data", "onnx", None, answers)
    path.unlink()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
