"""External data through links, and files that are no model at all."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from worlds.onnx_builders import colors, save, with_external_weights
from worlds.sweep_world import World, names

from adapters.onnx.digest import digest_onnx
from adapters.onnx.opening import open_onnx
from adapters.suspect import SuspectConfigError, SuspectError

DATA = np.eye(3, dtype=np.float32).tobytes()


def cached(root: Path) -> Path:
    """Lay a model out as huggingface_hub does; returns the file that a user names."""
    blobs, snapshot = root / "models--o--m/blobs", root / "models--o--m/snapshots/abc/onnx"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    save(with_external_weights("model.onnx_data"), blobs / "11")
    (blobs / "22").write_bytes(DATA)
    (snapshot / "model.onnx").symlink_to("../../../blobs/11")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/22")
    return snapshot / "model.onnx"


def labels(path: Path) -> list[int]:
    with open_onnx(path, device="cpu") as suspect:
        return [int(label) for label in suspect.predict(colors((255, 0, 0), (0, 0, 255))).labels]


def test_a_download_cache_of_links_is_read(tmp_path: Path) -> None:
    path = cached(tmp_path)
    assert labels(path) == [0, 2]
    assert digest_onnx(path).beside == ("model.onnx_data",)


def test_data_lies_beside_the_file_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "linked").mkdir()
    save(with_external_weights("w.bin"), tmp_path / "store/real.onnx")
    (tmp_path / "linked/w.bin").write_bytes(DATA)
    (tmp_path / "linked/model.onnx").symlink_to("../store/real.onnx")
    assert labels(tmp_path / "linked/model.onnx") == [0, 2]


def test_data_may_lie_beside_what_is_linked_to(tmp_path: Path) -> None:
    (tmp_path / "v3").mkdir()
    save(with_external_weights("w.bin"), tmp_path / "v3/model.onnx")
    (tmp_path / "v3/w.bin").write_bytes(DATA)
    (tmp_path / "current.onnx").symlink_to("v3/model.onnx")
    assert labels(tmp_path / "current.onnx") == [0, 2]


def test_a_link_that_leads_elsewhere_is_refused_as_that(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.bin").write_bytes(DATA)
    save(with_external_weights("w.bin"), tmp_path / "model/m.onnx")
    (tmp_path / "model/w.bin").symlink_to("../secret.bin")
    with pytest.raises(SuspectError, match=r"got a link to another place \(.*secret.bin\); copy"):
        labels(tmp_path / "model/m.onnx")
    (tmp_path / "model/w.bin").unlink()
    (tmp_path / "model/w.bin").symlink_to("nowhere")
    with pytest.raises(SuspectError, match="got a link that leads nowhere"):
        labels(tmp_path / "model/m.onnx")
    (tmp_path / "model/w.bin").unlink()
    with pytest.raises(SuspectError, match="beside the model: there is no such file"):
        labels(tmp_path / "model/m.onnx")


def test_blobs_that_are_a_link_themselves_open_no_other_folder(tmp_path: Path) -> None:
    path = cached(tmp_path)
    blobs = tmp_path / "models--o--m/blobs"
    shutil.move(blobs, tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SuspectError, match="got a link to another place"):
        labels(path)


def test_links_within_the_folder_that_is_swept_are_followed(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.suspects / "data").mkdir()
    (world.suspects / "models").mkdir()
    (world.suspects / "data/w").write_bytes(DATA)
    save(with_external_weights("w.bin"), world.suspects / "models/m.onnx")
    (world.suspects / "models/w.bin").symlink_to("../data/w")
    outside = tmp_path / "w"
    outside.write_bytes(DATA)
    model = with_external_weights("v.bin")
    save(model, world.suspects / "models/n.onnx")
    (world.suspects / "models/v.bin").symlink_to(outside)
    reasons = names(world.run()[2], "reason")
    # Read as far as its classes, of which the bundle has four.
    assert "bundle and suspect are about different tasks" in reasons["m.onnx"]
    assert "got a link to another place" in reasons["n.onnx"]


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [(LFS_POINTER, "git lfs pull"), (b"<!DOCTYPE html>\n<html>Log in</html>", "a web page")],
)
def test_what_stands_in_the_place_of_weights_is_named(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = save(with_external_weights("w.bin"), tmp_path / "model.onnx")
    (tmp_path / "w.bin").write_bytes(data)
    with pytest.raises(
        SuspectError, match=f"external data 'w.bin': expected weights, got .*{said}"
    ):
        open_onnx(path, device="cpu")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LFS_POINTER, "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>Log in</html>", "a web page"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive, perhaps a PyTorch or Keras file"),
        (b"\x1c\0\0\0ORTM" + bytes(40), "a model in ORT format"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
        (b"\x02\0\0\0\0\0\0\0{}" + bytes(8), "a safetensors file"),
        (b"GIF89a, or so it says", "a picture"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(SuspectConfigError, match=f"expected an ONNX model.*, got .*{said}"):
        open_onnx(path, device="cpu")
    assert os.listdir(tmp_path) == ["model.onnx"]
