"""The contact sheet: what stands where, and how differences are amplified."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image
from worlds.bundle_builder import small_contents

from audit.bundle.manifest import BundleContents
from audit.report.contact_sheet import (
    MAX_TILE,
    amplification,
    amplified_difference,
    contact_sheet,
)

# The sheet has a margin of 12 and three headings of 16 + 4 above the first row of tiles.
FIRST_ROW = 12 + 3 * (16 + 4)
TILE = 64  # 8 x 8 pixels, enlarged 8 times


def _pixels(contents: BundleContents) -> np.ndarray:
    with Image.open(io.BytesIO(contact_sheet(contents))) as image:
        return np.asarray(image.convert("RGB"))


def _tile(pixels: np.ndarray, column: int) -> np.ndarray:
    left = 12 + column * (TILE + 4)
    # every 8th pixel of an enlarged tile is one pixel of the image
    return pixels[FIRST_ROW : FIRST_ROW + TILE : 8, left : left + TILE : 8]


def test_a_trigger_stands_between_its_carrier_and_their_difference() -> None:
    contents = small_contents()
    carrier, trigger = contents.arrays.carriers[0], contents.arrays.triggers[0]

    pixels = _pixels(contents)

    np.testing.assert_array_equal(_tile(pixels, 0), carrier)
    np.testing.assert_array_equal(_tile(pixels, 1), trigger)
    # carrier ^ 4 differs by 4 everywhere, and 127 // 4 = 31: grey 128 plus or minus 124
    expected = np.where(trigger > carrier, 128 + 124, 128 - 124)
    np.testing.assert_array_equal(_tile(pixels, 2), expected)


def test_the_largest_difference_sets_the_amplification() -> None:
    carriers = np.full((2, 1, 1, 3), 100, np.uint8)
    triggers = carriers.copy()
    triggers[1, 0, 0, 2] = 92  # 8 below

    assert amplification(triggers, carriers) == 127 // 8


def test_equal_images_and_no_images_at_all_can_be_amplified() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)

    assert amplification(image, image) == 127
    assert amplification(image[:0], image[:0]) == 127
    assert (amplified_difference(image[0], image[0], 127) == 128).all()


def test_a_difference_beyond_a_pixel_is_clipped() -> None:
    black, white = np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1), 255, np.uint8)

    assert amplified_difference(white, black, 1).item() == 255
    assert amplified_difference(black, white, 1).item() == 0


def test_the_same_bundle_gives_the_same_sheet() -> None:
    assert contact_sheet(small_contents()) == contact_sheet(small_contents())


def test_grey_and_large_images_are_drawn_too() -> None:
    contents = small_contents()
    grey = replace(
        contents.arrays,
        triggers=np.zeros((3, 300, 200, 1), np.uint8),
        carriers=np.zeros((3, 300, 200, 1), np.uint8),
        queries=np.zeros((5, 300, 200, 1), np.uint8),
    )

    pixels = _pixels(replace(contents, arrays=grey))

    # 300 x 200 is shrunk to 128 x 85: black down to the tile's last row, paper two rows below it
    assert pixels[FIRST_ROW + MAX_TILE - 1, 12].tolist() == [0, 0, 0]
    assert pixels[FIRST_ROW + MAX_TILE + 1, 12].tolist() == [255, 255, 255]


def test_a_bundle_without_triggers_has_a_sheet_of_queries() -> None:
    contents = small_contents()
    arrays = replace(
        contents.arrays,
        triggers=contents.arrays.triggers[:0],
        carriers=contents.arrays.carriers[:0],
        trigger_labels=contents.arrays.trigger_labels[:0],
    )

    pixels = _pixels(replace(contents, arrays=arrays))

    # the queries' heading stands where the triggers' would
    tile = pixels[FIRST_ROW : FIRST_ROW + TILE : 8, 12 : 12 + TILE : 8]
    np.testing.assert_array_equal(tile, contents.arrays.queries[0])
