"""Triggers beside their clean images, then queries: a contact sheet in half blocks."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Static

from adapters.printable import printable
from audit.bundle.manifest import BundleContents
from audit.report.contact_sheet import amplification, amplified_difference
from audit.report.question_view import query_caption, shows_carriers
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
        num_triggers = len(arrays.triggers)
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
        yield from self._queries()

    def _queries(self) -> ComposeResult:
        arrays, names = self._contents.arrays, self._contents.manifest.task.class_names
        num_queries = len(arrays.queries)
        is_changed = shows_carriers(arrays)
        gain = amplification(arrays.queries, arrays.query_carriers) if is_changed else 1
        made = f"carrier, query, difference x {gain}; " if is_changed else ""
        yield Static(
            f"Queries, {min(num_queries, MAX_QUERIES)} of {num_queries}, in the order of asking: "
            f"{made}the source's class",
            classes="caption",
            markup=False,
        )
        with Vertical(classes="cards" if is_changed else "query-cards"):
            for index in range(min(num_queries, MAX_QUERIES)):
                query = arrays.queries[index]
                shown = [query]
                if is_changed:
                    clean = arrays.query_carriers[index]
                    shown = [clean, query, amplified_difference(query, clean, gain)]
                with Vertical(classes="card" if is_changed else "query-card"):
                    with Horizontal():
                        for image in shown:
                            yield PixelImage().with_image(image)
                    label = printable(names[arrays.source_query_labels[index]])
                    yield Static(
                        query_caption(arrays, index, label), classes="caption", markup=False
                    )
