import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worlds.tiny_task import CLASSES, tiny_images, write_images

from generator.errors import ImagesError
from generator.images.reading import Reading, load_images
from generator.images.splits import split_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", tiny_images(12, 0))


def test_a_folder_and_a_zip_of_it_give_the_same_pixels(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in folder.rglob("*.png"):
            opened.write(path, f"train/{path.relative_to(folder)}")
    from_folder, _ = load_images([folder])
    from_zip, _ = load_images([archive / "train"])
    assert from_folder.class_names == from_zip.class_names == CLASSES
    assert np.array_equal(from_folder.images, from_zip.images)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "bmp", "tif", "ppm"])
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (5, 4), (255, 0, 0)).save(tmp_path / name / f"x.{suffix}")
    data, _ = load_images([tmp_path])
    assert data.images.shape == (2, 4, 5, 3)
    assert data.images[0, 0, 0].tolist() == pytest.approx([255, 0, 0], abs=2)


def test_one_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "only" / "x.png")
    with pytest.raises(ImagesError, match=r"at least 2 class folders, found 1 \(only\)"):
        load_images([tmp_path])


def test_an_unreadable_image_is_named_or_skipped(folder: Path) -> None:
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImagesError, match=r"cannot read .*broken\.png .*--skip-unreadable"):
        load_images([folder])
    data, skipped = load_images([folder], reading=Reading(skip_unreadable=True))
    assert len(data) == 12
    assert [Path(name).name for name in skipped] == ["broken.png"]
    assert data.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_images_of_another_size_are_named(folder: Path) -> None:
    Image.new("RGB", (7, 9)).save(folder / "red" / "zz.png")
    with pytest.raises(ImagesError, match=r"12x12 and .*zz\.png is 7x9; .*--preprocess"):
        load_images([folder])


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK not really")
    with pytest.raises(ImagesError, match=r"x\.zip is not a ZIP file"):
        load_images([tmp_path / "x.zip"])


def test_an_unknown_class_folder_is_named(folder: Path) -> None:
    with pytest.raises(ImagesError, match="'red' is not one of the 2 known classes"):
        load_images([folder], class_names=["blue", "green"])


def test_every_prefix_of_the_balanced_order_is_balanced() -> None:
    data = tiny_images(30, 0)
    order = data.balanced_order(np.random.default_rng(0))
    assert sorted(order) == list(range(30))
    for end in range(3, 31, 3):
        assert np.bincount(data.labels[order[:end]]).tolist() == [end // 3] * 3


def test_no_image_serves_two_purposes() -> None:
    owner, held_out = tiny_images(120, 0), tiny_images(240, 1)
    parts = split_images(owner, held_out, max_training=90, rng=np.random.default_rng(0))
    seen = [image.tobytes() for part in vars(parts).values() for image in part.images]
    assert len(set(seen)) == len(seen) == 90 + 240


def test_too_few_images_for_every_purpose_are_refused() -> None:
    with pytest.raises(ImagesError, match=r"has images of 2 only.* of class '"):
        split_images(
            tiny_images(30, 0), tiny_images(9, 1), max_training=None, rng=np.random.default_rng(0)
        )
