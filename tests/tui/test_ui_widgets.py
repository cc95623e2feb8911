"""Widgets on their own: what they show does not depend on when they hear of it."""

import asyncio

import numpy as np
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from worlds.screens.ui_desk import until

from audit.tui.widgets.pixel_image import PixelImage
from audit.tui.widgets.query_grid import QueryGrid


class GridApp(App[None]):
    """Hears of all questions, and of the last one, before there is any layout."""

    def compose(self) -> ComposeResult:
        yield QueryGrid()

    def on_mount(self) -> None:
        grid = self.query_one(QueryGrid)
        grid.questions = tuple(f"query/{number}" for number in range(600))
        grid.chosen = "query/599"


class ImageApp(App[None]):
    """One image of 4 x 4 pixels."""

    def compose(self) -> ComposeResult:
        yield PixelImage()


def test_the_grid_shows_the_chosen_question_however_early_it_was_chosen() -> None:
    async def run() -> None:
        app = GridApp()
        async with app.run_test(size=(80, 24)) as pilot:
            grid = app.query_one(QueryGrid)
            await until(pilot, lambda: grid.size.height == 24)
            await pilot.resize_terminal(40, 12)
            await until(pilot, lambda: grid.size.height == 12)
            await until(pilot, lambda: grid.scroll_offset.y == grid.max_scroll_y > 12)

    asyncio.run(run())


def first_colour(pilot: Pilot[None]) -> str:
    segment = pilot.app.query_one(PixelImage).render_line(0)._segments[0]
    assert segment.style is not None
    assert segment.style.color is not None
    return segment.style.color.name


def test_an_image_is_drawn_anew_when_it_changes() -> None:
    async def run() -> None:
        app = ImageApp()
        async with app.run_test(size=(40, 20)) as pilot:
            shown = app.query_one(PixelImage)
            shown.image = np.full((4, 4, 3), 255, dtype=np.uint8)
            assert first_colour(pilot) == "#ffffff"
            shown.image = np.zeros((4, 4, 3), dtype=np.uint8)
            assert first_colour(pilot) == "#000000"

    asyncio.run(run())
