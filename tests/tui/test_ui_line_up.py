"""The screen with a bundle that a line-up decides: the audit's race, and its result."""

from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Select
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

from audit.bundle.manifest import Steps
from audit.tui.app import KinprintApp
from audit.tui.screens.live import LiveScreen
from audit.tui.widgets.plots.race_plot import RacePlot
from audit.tui.widgets.plots.score_strip import ScoreStrip


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


def stepped_bundle(path: Path) -> None:
    line_up_bundle(
        path,
        default_score="likelihood-ratio",
        steps=Steps(crafted_alpha=0.05, line_up_alpha=0.05),
    )


def test_an_audit_in_two_steps_shows_the_race_after_the_strip(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    stepped_bundle(folder / "model.kinprint")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose_suspect(pilot, "stranger.onnx")
        await shows(pilot, "then 24 queries and if no copy is found, 24 line-up images")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        await shows(pilot, "Enter: why.")
        assert app.screen.query_one(RacePlot).race is not None
        await pilot.press("enter")
        await shows(pilot, "Step two: ")
        await until(pilot, lambda: len(app.screen.query("#first-race")) == 1)
        strip, race = app.screen.query_one(ScoreStrip), app.screen.query_one("#first-race")
        assert strip.data is not None
        assert strip.data.score.name == "likelihood-ratio"
        assert strip.region.bottom <= race.region.y
        await pilot.press("2")
        await shows(pilot, "line-up (step two")
        assert len(app.screen.query("#result-race")) == 1
        assert len(app.screen.query("#result-plot")) == 1

    drive(make_desk(folder), play, size=(120, 60))


def test_a_screen_may_look_for_copies_only(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    stepped_bundle(folder / "model.kinprint")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose_suspect(pilot, "stranger.onnx")
        app.screen.query_one("#score", Select).value = "copies"
        await until(pilot, lambda: "line-up images" not in text_of(app))
        await pilot.press("ctrl+s")
        await shows(pilot, "No copy; extraction not looked for.")

    drive(make_desk(folder), play, size=(120, 50))
