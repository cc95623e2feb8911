"""Grey, palette, transparent, CMYK, 16-bit and turned images among each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from worlds.tiny_task import tiny_images, write_images

from adapters.geometry import Geometry
from generator.errors import ImagesError
from generator.images.duplicates import find_duplicates, num_flat
from generator.images.labelled import ImageSet
from generator.images.listing import list_images
from generator.images.reading import CACHED_BYTES, Reading, load_images

RED = (255, 0, 0)


def save(picture: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def pixel(folder: Path, name: str) -> list[int]:
    """Return the top left pixel of an image that stands alone beside a colour one."""
    save(Image.new("RGB", (6, 4), RED), folder / "b" / "colour.png")
    data, _ = load_images([folder])
    assert data.images.shape == (2, 4, 6, 3), name
    values: list[int] = data.images[0, 0, 0].tolist()
    return values


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 77, "png", [77, 77, 77]),
        ("1", 1, "png", [255, 255, 255]),
        ("LA", (77, 0), "png", [77, 77, 77]),
        ("RGBA", (*RED, 0), "png", [255, 0, 0]),
        ("CMYK", (0, 255, 255, 0), "tif", [255, 0, 0]),
        ("I;16", 0x7F01, "png", [127, 127, 127]),
        ("RGB", RED, "gif", [255, 0, 0]),
    ],
)
def test_every_kind_of_pixel_becomes_colour_among_colours(
    tmp_path: Path, mode: str, colour: object, suffix: str, expected: list[int]
) -> None:
    save(Image.new(mode, (6, 4), colour), tmp_path / "a" / f"x.{suffix}")  # type: ignore[arg-type]
    assert pixel(tmp_path, mode) == expected


def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    save(picture, tmp_path / "a" / "x.png", transparency=bytes([0, 0]))
    assert pixel(tmp_path, "palette") == [255, 0, 0]


def test_the_first_of_several_frames_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in (RED, (0, 255, 0))]
    save(frames[0], tmp_path / "a" / "x.gif", save_all=True, append_images=frames[1:])
    assert pixel(tmp_path, "frames") == [255, 0, 0]


def test_a_kind_that_nobody_can_read_is_no_class_that_disappears(tmp_path: Path) -> None:
    for name in ("a", "c"):
        save(Image.new("RGB", (6, 4), RED), tmp_path / name / "x.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x24ftypheic" + bytes(40))
    assert list_images([tmp_path]).class_names == ("a", "b", "c")
    with pytest.raises(ImagesError, match=r"IMG_1\.HEIC"):
        load_images([tmp_path])


def test_a_photo_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 6))
    picture.putpixel((0, 5), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the bottom left comes to the top left
    save(picture, tmp_path / "a" / "x.png", exif=exif)
    assert pixel(tmp_path, "turned") == [255, 0, 0]


def test_grey_images_alone_stay_grey_unless_three_channels_are_wanted(tmp_path: Path) -> None:
    for name in "ab":
        save(Image.new("L", (6, 4), 9), tmp_path / name / "x.png")
    assert load_images([tmp_path])[0].images.shape == (2, 4, 6, 1)
    as_colour, _ = load_images([tmp_path], reading=Reading(channels=3))
    assert as_colour.images.shape == (2, 4, 6, 3)


def test_fractions_are_named(tmp_path: Path) -> None:
    save(Image.new("F", (6, 4), 0.5), tmp_path / "a" / "x.tif")
    save(Image.new("F", (6, 4), 0.5), tmp_path / "b" / "x.tif")
    with pytest.raises(ImagesError, match=r"x\.tif .*fractions; save them with 8 bits"):
        load_images([tmp_path])


def test_any_sizes_become_one(tmp_path: Path) -> None:
    for number, size in enumerate([(30, 20), (20, 30), (64, 64), (8, 9)]):
        save(Image.new("RGB", size, RED), tmp_path / "ab"[number % 2] / f"{number}.jpg")
    geometry = Geometry(resize=16, crop=(12, 10))
    data, _ = load_images([tmp_path], reading=Reading(geometry=geometry))
    assert data.images.shape == (4, 12, 10, 3)
    with pytest.raises(
        ImagesError, match=r"is 24x16 and .*1\.jpg is 16x24|is 24x16 and .* is 16x16"
    ):
        load_images([tmp_path], reading=Reading(geometry=Geometry(resize=16)))


def test_decoded_pixels_are_kept_and_taken_again_until_a_file_changes(tmp_path: Path) -> None:
    data = tiny_images(6, 0)
    folder = write_images(tmp_path / "images", data)
    side = round((CACHED_BYTES / 18) ** 0.5) + 1
    reading = Reading(geometry=Geometry(resize=(side, side)), cache=tmp_path / "work")
    first, _ = load_images([folder], reading=reading)
    kept = list((tmp_path / "work").iterdir())
    assert len(kept) == 1
    assert np.array_equal(np.load(kept[0]), first.images)
    again, _ = load_images([folder], reading=reading)
    assert np.array_equal(again.images, first.images)
    assert not [path for path in (tmp_path / "work").iterdir() if path not in kept]
    write_images(folder, tiny_images(6, 1))
    other, _ = load_images([folder], reading=reading)
    assert not np.array_equal(other.images, first.images)


def picture_of(seed: int) -> Image.Image:
    """Return something that looks like a photo: large patches of different grey."""
    patches = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((64, 64), Image.Resampling.BICUBIC)


def image_set(pictures: list[Image.Image]) -> ImageSet:
    return ImageSet(
        np.stack([np.asarray(one) for one in pictures]), np.zeros(len(pictures), int), ()
    )


def test_the_same_and_nearly_the_same_pictures_are_found(tmp_path: Path) -> None:
    pictures = [picture_of(seed) for seed in range(20)]
    pictures[2].save(tmp_path / "again.jpg", quality=70)
    again = Image.open(tmp_path / "again.jpg").convert("RGB")
    smaller = pictures[3].resize((40, 40)).resize((64, 64))
    darker = Image.fromarray((np.asarray(pictures[4]) * 0.7).astype(np.uint8))
    held_out = [picture_of(99), pictures[1], again, smaller, darker, picture_of(98)]
    found = find_duplicates(image_set(held_out), image_set(pictures))
    assert found.same.tolist() == [1]
    assert found.similar.tolist() == [2, 3]


def test_images_of_one_colour_are_counted_and_are_no_duplicates_of_each_other() -> None:
    flat = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (10, 12)]
    assert num_flat(image_set([*flat, picture_of(0)])) == 2
    assert find_duplicates(image_set(flat[:1]), image_set(flat[1:])).num == 0
