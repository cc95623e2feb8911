"""Triggers beside their clean images, then queries: a contact sheet in half blocks."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from audit.contact_sheet import amplification, amplified_difference
from audit.inspection import printable
from audit.manifest import BundleContents
from audit.tui.widgets.pixel_image import PixelImage

MAX_TRIGGERS, MAX_QUERIES = 30, 40
"""Most images that are drawn; ``kinprint inspect --images`` draws them all."""
SIDE = 16
"""Width of an image in cells."""


class TriggerSheet(VerticalScroll, can_focus=True):
    """Draws a bundle's images.

    Args:
        contents: The bundle.
    """

    def __init__(self, contents: BundleContents) -> None:
        super().__init__()
        self._contents = contents

    def compose(self) -> ComposeResult:
        """Lay the sheet out."""
        arrays = self._contents.arrays
        names = self._contents.manifest.task.class_names
        num_triggers, num_queries = len(arrays.triggers), len(arrays.queries)
        if num_triggers:
            gain = amplification(arrays.triggers, arrays.carriers)
            yield Static(
                f"Triggers, {min(num_triggers, MAX_TRIGGERS)} of {num_triggers}: clean image, "
                f"trigger, difference x {gain}",
                classes="caption",
                markup=False,
            )
            with Vertical(classes="cards"):
                for index in range(min(num_triggers, MAX_TRIGGERS)):
                    clean, trigger = arrays.carriers[index], arrays.triggers[index]
                    with Vertical(classes="card"):
                        with Horizontal():
                            for image in (
                                clean,
                                trigger,
                                amplified_difference(trigger, clean, gain),
                            ):
                                yield PixelImage().with_image(image)
                        label = printable(names[arrays.trigger_labels[index]])
                        yield Static(f"{index}: {label}", classes="caption", markup=False)
        yield Static(
            f"Queries, {min(num_queries, MAX_QUERIES)} of {num_queries}, in the order of asking: "
            "the source's class",
            classes="caption",
            markup=False,
        )
        with Vertical(classes="query-cards"):
            for index in range(min(num_queries, MAX_QUERIES)):
                with Vertical(classes="query-card"):
                    yield PixelImage().with_image(arrays.queries[index])
                    label = printable(names[arrays.source_query_labels[index]])
                    yield Static(f"{index}: {label}", classes="caption", markup=False)
