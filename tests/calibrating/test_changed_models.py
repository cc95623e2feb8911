"""What becomes of a judge's models: real files, really quantised, and images really changed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from worlds.audit_world import KnownSuspect
from worlds.tiny_onnx import write_onnx
from worlds.tiny_task import tiny_images, trained_net

from adapters.suspect import Predictions
from audit.calibrating.changed_models import IMAGE_CHANGES, ChangedImages, change_weights


@pytest.mark.parametrize("how", ["int8", "moved weights"])
def test_files_are_changed_and_the_originals_stay(tmp_path: Path, how: str) -> None:
    import onnxruntime

    data = tiny_images(60, 3)
    path = write_onnx(tmp_path / "net.onnx", trained_net(1, tiny_images(300, 1)))
    # As exporters do: the quantiser turns this matrix round, and stumbles over its old shape.
    model = onnx.load(path)
    model.graph.value_info.append(
        helper.make_tensor_value_info("head.weight", onnx.TensorProto.FLOAT, [3, 576])
    )
    onnx.save(model, path)
    before = path.read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    folder = tmp_path / "copies"
    folder.mkdir()

    copies = change_weights([path, broken], how, folder)

    assert path.read_bytes() == before
    assert set(copies) == {path}
    pixels = ((data.images / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).astype(np.float32)
    logits = [
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]).run(
            None, {"input": pixels}
        )[0]
        for one in (path, copies[path])
    ]
    assert not np.array_equal(*logits)
    # Neither eight bits nor a little noise makes another network of it.
    assert (logits[0].argmax(1) == logits[1].argmax(1)).mean() > 0.8


class _Shown(KnownSuspect):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__(lambda kind, index: 0)
        self.shown: list[NDArray[np.uint8]] = []

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        self.shown.append(images)
        return Predictions(labels=np.zeros(len(images), dtype=np.int64))


@pytest.mark.parametrize("name", list(IMAGE_CHANGES))
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_changed_a_little_on_their_way(name: str, channels: int) -> None:
    rows = np.linspace(0, 200, 32)[:, None, None] + np.arange(32)[None, :, None]
    images = np.repeat(rows[None], channels, axis=3).astype(np.uint8)
    suspect = _Shown()
    changed = ChangedImages(suspect, name)
    changed.predict(images)
    (seen,) = suspect.shown
    assert (seen.shape, seen.dtype) == (images.shape, images.dtype)
    difference = np.abs(seen.astype(int) - images).mean()
    assert 0 < difference < 8
    assert changed.identity.digest != suspect.identity.digest
    assert changed.identity.details["images"] == name
