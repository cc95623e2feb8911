"""A contact sheet of a bundle's images as one PNG, for the eye.

Triggers stand beside their clean carriers and the difference between the two, amplified; queries
follow in the order of asking, beside their carriers where they were made from some.
"""

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adapters.printable import printable
from audit.bundle.manifest import Arrays, BundleContents
from audit.report.question_view import query_caption, shows_carriers

MIN_TILE, MAX_TILE = 64, 128
"""Side of a tile in pixels; smaller images are enlarged by whole factors, larger ones shrunk."""
MAX_TRIGGERS, MAX_QUERIES = 200, 400
"""Most triggers and queries on a sheet; the heading says how many there are."""

_WIDTH = 1280
_MARGIN = 12
_GAP = 4
_LINE = 16
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


def contact_sheet(contents: BundleContents) -> bytes:
    """Draw the sheet.

    Args:
        contents: The bundle.

    Returns:
        A PNG file's bytes, the same for the same bundle and Pillow.
    """
    manifest, arrays = contents.manifest, contents.arrays
    names = manifest.task.class_names
    return _png(
        _stack(
            [
                _heading(f"{manifest.model_name}, by {manifest.owner}, {manifest.created}"),
                _heading(f"bundle {contents.manifest_sha256}"),
                *_trigger_rows(arrays, names),
                *_query_rows(arrays, names),
            ]
        )
    )


def _trigger_rows(arrays: Arrays, names: Sequence[str]) -> list[Image.Image]:
    num = len(arrays.triggers)
    if not num:
        return []
    gain = amplification(arrays.triggers, arrays.carriers)
    cells = [
        _triple(
            arrays.carriers[index],
            arrays.triggers[index],
            gain,
            f"{index}: {names[arrays.trigger_labels[index]]}",
        )
        for index in range(min(num, MAX_TRIGGERS))
    ]
    heading = (
        f"Triggers ({len(cells)} of {num}): clean image, trigger, difference x {gain} around "
        "grey; true class"
    )
    return [_heading(heading), *_rows(cells)]


def _query_rows(arrays: Arrays, names: Sequence[str]) -> list[Image.Image]:
    num = len(arrays.queries)
    captions = [
        query_caption(arrays, index, names[arrays.source_query_labels[index]])
        for index in range(min(num, MAX_QUERIES))
    ]
    heading = f"Queries ({len(captions)} of {num}), in the order of asking"
    if shows_carriers(arrays):
        gain = amplification(arrays.queries, arrays.query_carriers)
        heading += f": carrier, query, difference x {gain} around grey"
        cells = [
            _triple(arrays.query_carriers[index], arrays.queries[index], gain, caption)
            for index, caption in enumerate(captions)
        ]
    else:
        cells = [
            _cell([_tile(arrays.queries[index])], caption) for index, caption in enumerate(captions)
        ]
    return [_heading(f"{heading}; the source's class"), *_rows(cells)]


def _triple(
    carrier: NDArray[np.uint8], image: NDArray[np.uint8], gain: int, caption: str
) -> Image.Image:
    return _cell(
        [_tile(carrier), _tile(image), _tile(amplified_difference(image, carrier, gain))], caption
    )


def amplification(triggers: NDArray[np.uint8], carriers: NDArray[np.uint8]) -> int:
    """Return the largest whole factor by which no difference leaves [-127, 127].

    Args:
        triggers: ``[N, H, W, C]``.
        carriers: ``[N, H, W, C]``.

    Example:
        >>> clean = np.full((1, 1, 1, 3), 100, np.uint8)
        >>> amplification(clean + np.uint8(8), clean)
        15
    """
    largest = np.abs(triggers.astype(np.int16) - carriers).max(initial=1)
    return max(1, 127 // int(largest))


def amplified_difference(
    trigger: NDArray[np.uint8], carrier: NDArray[np.uint8], gain: int
) -> NDArray[np.uint8]:
    """Return ``128 + gain (trigger - carrier)``, clipped to pixels, ``[H, W, C]``."""
    difference = trigger.astype(np.int32) - carrier
    return np.asarray((128 + gain * difference).clip(0, 255), dtype=np.uint8)


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    height, width, channels = image.shape
    # Pillow takes grey images as [H, W]
    tile = Image.fromarray(image[:, :, 0] if channels == 1 else image).convert("RGB")
    longer = max(height, width)
    if longer > MAX_TILE:
        scale = MAX_TILE / longer
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return tile.resize(size, Image.Resampling.BOX)
    factor = max(1, MIN_TILE // longer)
    return tile.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _cell(tiles: Sequence[Image.Image], caption: str) -> Image.Image:
    width = sum(tile.width for tile in tiles) + _GAP * (len(tiles) - 1)
    height = max(tile.height for tile in tiles)
    cell = Image.new("RGB", (width, height + _LINE), _PAPER)
    x = 0
    for tile in tiles:
        cell.paste(tile, (x, 0))
        x += tile.width + _GAP
    _write(cell, (0, height + 2), caption)
    return cell


def _rows(cells: Sequence[Image.Image]) -> list[Image.Image]:
    if not cells:
        return []
    per_row = max(1, (_WIDTH + _MARGIN) // (cells[0].width + _MARGIN))
    rows: list[Image.Image] = []
    for start in range(0, len(cells), per_row):
        row = Image.new("RGB", (_WIDTH, cells[0].height), _PAPER)
        for position, cell in enumerate(cells[start : start + per_row]):
            row.paste(cell, (position * (cell.width + _MARGIN), 0))
        rows.append(row)
    return rows


def _heading(text: str) -> Image.Image:
    heading = Image.new("RGB", (_WIDTH, _LINE), _PAPER)
    _write(heading, (0, 1), text)
    return heading


def _stack(rows: Sequence[Image.Image]) -> Image.Image:
    height = sum(row.height + _GAP for row in rows)
    sheet = Image.new("RGB", (_WIDTH + 2 * _MARGIN, height + 2 * _MARGIN), _PAPER)
    y = _MARGIN
    for row in rows:
        sheet.paste(row, (_MARGIN, y))
        y += row.height + _GAP
    return sheet


def _write(image: Image.Image, position: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(image).text(position, printable(text), fill=_INK, font=_font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=11)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
