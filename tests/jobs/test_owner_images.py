"""What an owner's images get wrong is found and told before anything is trained on them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worlds.tiny_task import CLASSES, tiny_images, write_images

from generator.errors import ImagesError
from generator.images.labelled import ImageSet
from generator.images.reading import Reading
from generator.images.splits import Splits
from generator.jobs import owner_images
from generator.jobs.owner_images import (
    OwnerImages,
    read_splits,
    read_training_images,
    split_owner_images,
)


def splits_of(owner: OwnerImages, told: list[str]) -> Splits:
    reading = Reading()
    listed = split_owner_images(owner, reading, np.random.default_rng(0), told.append)
    return read_splits(listed, reading, told.append)


def part(folder: Path, num: int, seed: int) -> Path:
    return write_images(folder, tiny_images(num, seed))


def test_images_to_judge_by_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    train = tiny_images(60, 1)
    rng = np.random.default_rng(0)
    held_out = tiny_images(60, 2).images
    patches = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    train.images[:6], held_out[:3] = patches, patches[:3]
    held_out[3:6] = (patches[3:].astype(int) + 2).clip(0, 255)
    write_images(tmp_path / "train", train)
    write_images(tmp_path / "val", ImageSet(held_out, train.labels, CLASSES))
    told: list[str] = []
    splits_of(OwnerImages(images=[tmp_path / "train"], held_out=[tmp_path / "val"]), told)
    (sentence,) = told
    assert "Of 60 images to judge by, 3 have the same pixels" in sentence
    assert "and 3 nearly the same, the first is" in sentence


def test_images_of_one_colour_are_refused(tmp_path: Path) -> None:
    flat = (
        np.full((60, 12, 12, 3), 7, np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None, None]
    )
    write_images(tmp_path, ImageSet(flat, np.arange(60) % 3, CLASSES))
    with pytest.raises(
        ImagesError, match=r"\d+ of \d+ images of the training part are of one colour"
    ):
        splits_of(OwnerImages(images=[tmp_path]), [])


@pytest.mark.parametrize(("num", "lonely"), [(10, False), (90, True)])
def test_too_few_images_name_the_class_that_has_fewest(
    tmp_path: Path, num: int, lonely: bool
) -> None:
    part(tmp_path, num, 1)
    if lonely:
        for path in sorted((tmp_path / "red").iterdir())[1:]:
            path.unlink()
    with pytest.raises(ImagesError, match=r"too few for 3 classes, .* of class '(red|blue|green)'"):
        splits_of(OwnerImages(images=[tmp_path]), [])


def test_no_more_is_decoded_than_serves_a_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(tmp_path / "train", 90, 1)
    part(tmp_path / "val", 120, 2)
    owner = OwnerImages(images=[tmp_path / "train"], held_out=[tmp_path / "val"])
    monkeypatch.setattr(owner_images, "MAX_TRAINING_BYTES", 30 * 12 * 12 * 3)
    monkeypatch.setattr(owner_images, "MAX_OTHER_BYTES", 15 * 12 * 12 * 3)
    told: list[str] = []
    splits = splits_of(owner, told)
    sizes = {name: len(images) for name, images in vars(splits).items()}
    assert sizes == {"training": 30, "controls": 24, "tuning": 15, "candidates": 15}
    assert any("Trains on 30 of 90 images" in text and "--max-images" in text for text in told)
    more = OwnerImages(images=[tmp_path / "train"], max_images=60)
    found = read_training_images(more, Reading(), np.random.default_rng(0), told.append)
    assert np.bincount(found.labels).tolist() == [20, 20, 20]


def test_a_whole_data_set_is_taken_apart_and_said(tmp_path: Path) -> None:
    part(tmp_path / "train", 60, 1)
    part(tmp_path / "val", 60, 2)
    told: list[str] = []
    splits = splits_of(OwnerImages(images=[tmp_path]), told)
    assert told == [
        f"Found parts of a data set: --images {tmp_path}/train --held-out {tmp_path}/val."
    ]
    assert len(splits.training) == 60


def test_a_broken_file_is_left_out_only_if_that_is_wanted(tmp_path: Path) -> None:
    part(tmp_path / "train", 60, 1)
    part(tmp_path / "val", 60, 2)
    picture = tmp_path / "train" / "red" / "cut.png"
    Image.fromarray(tiny_images(1, 5).images[0]).save(picture)
    picture.write_bytes(picture.read_bytes()[:200])
    owner = OwnerImages(images=[tmp_path / "train"], held_out=[tmp_path / "val"])
    with pytest.raises(ImagesError, match=r"cut\.png as an image .*--skip-unreadable"):
        splits_of(owner, [])
    told: list[str] = []
    reading = Reading(skip_unreadable=True)
    listed = split_owner_images(owner, reading, np.random.default_rng(0), told.append)
    assert len(read_splits(listed, reading, told.append).training) == 60
    assert told == [f"Skipped 1 unreadable files, the first is {picture}."]
