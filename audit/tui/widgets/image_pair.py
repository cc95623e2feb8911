"""One question: its image, the suspect's answer and the source's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from adapters.printable import printable
from audit.tui.widgets.pixel_image import PixelImage


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """A question as it is shown."""

    title: str
    image: NDArray[np.uint8]
    """``[H, W, C]``"""
    source: str
    """The source's answer, in words."""
    suspect: str
    """The suspect's, or that there is none yet."""
    told: str
    """What the two together mean."""


class ImagePair(Vertical):
    """Shows `looked`."""

    DEFAULT_CSS = """
    ImagePair { height: auto; width: auto; }
    ImagePair > Horizontal { height: auto; width: auto; }
    ImagePair PixelImage { width: 32; height: 16; }
    ImagePair #words { width: 24; height: 8; padding: 0 0 0 2; }
    """

    looked: reactive[Looked | None] = reactive(None, init=False)

    def compose(self) -> ComposeResult:
        """Lay out image and words."""
        with Horizontal():
            yield PixelImage()
            yield Static("Choose a question in the grid to see its image.", id="words")

    def watch_looked(self, looked: Looked | None) -> None:
        """Show it."""
        self.query_one(PixelImage).image = None if looked is None else looked.image
        if looked is None:
            self.query_one("#words", Static).update("Choose a question to see its image.")
            return
        self.query_one("#words", Static).update(
            Content.assemble(
                Content.styled(looked.title, "bold"),
                "\n\n",
                Content.styled("source   ", "dim"),
                printable(looked.source),
                "\n",
                Content.styled("suspect  ", "dim"),
                printable(looked.suspect),
                "\n\n",
                printable(looked.told),
            ),
            layout=False,
        )
