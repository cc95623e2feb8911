"""The screen with a bundle that a line-up decides: the audit's race, and its result."""

from pathlib import Path

from textual.pilot import Pilot
from worlds.fingerprint_builder import line_up_bundle
from worlds.screens.ui_desk import (
    choose_suspect,
    drive,
    make_desk,
    make_folder,
    shows,
    text_of,
    until,
)

from audit.tui.app import KinprintApp
from audit.tui.screens.live import LiveScreen
from audit.tui.widgets.plots.race_plot import RacePlot


def test_an_audit_is_a_race_of_source_and_siblings(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    line_up_bundle(folder / "model.kinprint")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose_suspect(pilot, "copy.onnx")
        await shows(pilot, "8 control images first, then 24 line-up images")
        await pilot.press("ctrl+s")
        await shows(pilot, "DERIVED")
        assert isinstance(app.screen, LiveScreen)
        race = app.screen.query_one(RacePlot)
        await until(pilot, lambda: race.display and race.race is not None)
        await shows(pilot, "number 1 of 20 after 24 questions")
        assert app.screen.query_one("#plot-panel").border_title == "Race of the line-up"
        await pilot.press("enter")
        await shows(pilot, "How sure it is")
        await shows(pilot, "whatever kind of model it is")
        await pilot.press("2")
        await shows(pilot, "number 1 of 20")
        await shows(pilot, "rank among its siblings")
        await until(pilot, lambda: len(app.screen.query(RacePlot)) == 1)
        assert "No calibration models" not in text_of(app)

    drive(make_desk(folder), play, size=(120, 50))


def test_the_inspector_shows_a_line_up(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    line_up_bundle(folder / "model.kinprint")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.press("i")
        await shows(pilot, "the source among 19 siblings")
        await shows(pilot, "nothing speaks against it")

    drive(make_desk(folder), play, size=(120, 50))
