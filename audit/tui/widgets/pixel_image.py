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

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Strip] = []
        self._drawn_for: object = None

    def with_image(self, image: NDArray[np.uint8]) -> "PixelImage":
        """Set the image before the widget is mounted, and return the widget."""
        self.set_reactive(PixelImage.image, image)
        return self

    def watch_image(self) -> None:
        """Draw anew."""
        self._drawn_for = None

    def render_line(self, y: int) -> Strip:
        """Draw one line of cells."""
        # Cells take far longer than anything else on a screen, and they seldom change.
        drawn_for = (self.size, self.app.no_color)
        if self._drawn_for != drawn_for:
            self._lines, self._drawn_for = self._all_lines(), drawn_for
        line = self._lines[y] if y < len(self._lines) else Strip([])
        return line.adjust_cell_length(self.size.width, self.rich_style)

    def _all_lines(self) -> list[Strip]:
        if self.image is None:
            return []
        pixels = fitted(self.image, self.size.width, 2 * self.size.height)
        if len(pixels) % 2:  # the last row of cells shows its one row of pixels twice
            pixels = np.concatenate([pixels, pixels[-1:]])
        draw = _shade if self.app.no_color else _cell
        rows = pixels.tolist()
        return [
            Strip([draw(*pair) for pair in zip(above, below, strict=True)])
            for above, below in zip(rows[::2], rows[1::2], strict=True)
        ]


def _cell(above: list[int], below: list[int]) -> Segment:
    return Segment("▀", Style.from_color(Color.from_rgb(*above), Color.from_rgb(*below)))


def _shade(above: list[int], below: list[int]) -> Segment:
    brightness = (sum(above) // len(above) + sum(below) // len(below)) / 2
    return Segment(_SHADES[min(int(brightness / 255 * len(_SHADES)), len(_SHADES) - 1)], Style())


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
