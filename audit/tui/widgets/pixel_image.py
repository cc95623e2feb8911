"""An image in half blocks: two pixels a cell, one above the other."""

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

_SHADES = " ░▒▓█"
"""Dark to bright, where there are no colours."""


class PixelImage(Widget):
    """Shows one image as large as fits, with its shape kept."""

    DEFAULT_CSS = "PixelImage { width: 32; height: 16; }"

    image: reactive[NDArray[np.uint8] | None] = reactive(None, always_update=True)
    """``[H, W, C]``, RGB or grey; None shows nothing."""

    def with_image(self, image: NDArray[np.uint8]) -> "PixelImage":
        """Set the image before the widget is mounted, and return the widget."""
        self.set_reactive(PixelImage.image, image)
        return self

    def render_line(self, y: int) -> Strip:
        """Draw one line of cells."""
        width = self.size.width
        if self.image is None:
            return Strip.blank(width, self.rich_style)
        pixels = fitted(self.image, width, 2 * self.size.height)
        if 2 * y >= len(pixels):
            return Strip.blank(width, self.rich_style)
        upper = pixels[2 * y]
        lower = pixels[2 * y + 1] if 2 * y + 1 < len(pixels) else upper
        segments = [self._cell(above, below) for above, below in zip(upper, lower, strict=True)]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _cell(self, above: NDArray[np.uint8], below: NDArray[np.uint8]) -> Segment:
        if self.app.no_color:
            brightness = (int(above.mean()) + int(below.mean())) / 2
            shade = _SHADES[min(int(brightness / 255 * len(_SHADES)), len(_SHADES) - 1)]
            return Segment(shade, Style())
        style = Style.from_color(
            _colour(above),
            _colour(below),
        )
        return Segment("▀", style)


def _colour(pixel: NDArray[np.uint8]) -> Color:
    red, green, blue = (int(value) for value in pixel)
    return Color.from_rgb(red, green, blue)


def fitted(image: NDArray[np.uint8], max_width: int, max_height: int) -> NDArray[np.uint8]:
    """Return the image in RGB, enlarged by a whole factor or shrunk by averaging.

    Args:
        image: ``[H, W, C]``, C 1 or 3.
        max_width: Columns.
        max_height: Rows.

    Returns:
        ``[h, w, 3]`` with w at most ``max_width`` and h at most ``max_height``.

    Example:
        >>> fitted(np.zeros((4, 4, 1), np.uint8), 9, 16).shape
        (8, 8, 3)
    """
    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    height, width = rgb.shape[:2]
    factor = min(max_width // width, max_height // height)
    if factor >= 1:
        return rgb.repeat(factor, axis=0).repeat(factor, axis=1)
    scale = min(max_width / width, max_height / height)
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    # Each cell is the mean of the pixels that fall into it: [H, W, 3] -> [h, w, 3].
    row_starts = np.arange(rows) * height // rows
    column_starts = np.arange(columns) * width // columns
    sums = np.add.reduceat(rgb.astype(np.float64), row_starts, axis=0)
    sums = np.add.reduceat(sums, column_starts, axis=1)
    row_counts = np.diff(np.append(row_starts, height))
    column_counts = np.diff(np.append(column_starts, width))
    means = sums / (row_counts[:, None, None] * column_counts[None, :, None])
    return np.asarray(means.round(), dtype=np.uint8)
