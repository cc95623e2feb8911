"""A sweep on the screen: what is listed, opened and told; a folder that is none is refused."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static
from worlds.in_process import run
from worlds.record_builder import AUDITOR_KEY, TRUST, copy_rule
from worlds.screens.ui_desk import drive, make_desk, make_folder, shows, text_of, until
from worlds.sweep_world import World

from audit.records.record import parse_record
from audit.sweep.run import TABLE
from audit.tui.app import KinprintApp
from audit.tui.desk import Desk
from audit.tui.screens.compare import CompareScreen
from audit.tui.screens.home import HomeScreen
from audit.tui.screens.result import ResultScreen
from audit.tui.screens.sweep import SweepScreen
from audit.tui.widgets.sweep_list import SweepList
from audit.tui.widgets.sweep_pairs import SweepPairs

SIZE = (140, 40)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.add_some()
    (made.suspects / "broken.onnx").write_bytes(b"no model at all")
    made.run()
    return made


def desk_of(world: World) -> Desk:
    return make_desk(world.suspects, trusted=[world.owner], first_sweep=world.results)


def listed(app: KinprintApp) -> list[str]:
    return [row.name for row in app.screen.query_one(SweepPairs)._shown]


def test_pairs_are_listed_the_most_suspicious_first_and_filtered(world: World) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "broken.onnx")
        assert listed(app)[0] == "copy.onnx"
        assert listed(app)[-1] == "broken.onnx"
        assert "● derived" in text_of(app)
        assert "expected an ONNX model" in text_of(app)
        told = str(app.screen.query_one("#hint", Static).render())
        assert "4 different suspects, 1 bundle: 2 independent, 1 derived, 1 failed." in told
        await pilot.press("slash", *"stranger")
        await until(pilot, lambda: listed(app) == ["stranger.onnx"])
        await pilot.press("escape")
        await until(pilot, lambda: len(listed(app)) == 4)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, SweepScreen))

    drive(desk_of(world), play, size=SIZE)


def test_enter_shows_what_a_verdict_rests_on_and_exports_it(world: World) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "copy.onnx")
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, ResultScreen))
        await until(pilot, lambda: app.screen.data is not None)  # type: ignore[attr-defined]
        await shows(pilot, "copy.onnx")
        # the sweep knows where its bundle lies, so that images and other models can be shown
        assert app.screen.data.bundle is not None  # type: ignore[attr-defined]
        assert "Go on" not in text_of(app)
        await pilot.press("x")
        await shows(pilot, "Export the evidence")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: list(world.suspects.glob("*.kinrecord")))

    drive(desk_of(world), play, size=SIZE)
    (path,) = world.suspects.glob("copy.onnx.*.kinrecord")
    record = parse_record(path.read_bytes(), TRUST)
    assert record.signer_key_id == AUDITOR_KEY.public_key.key_id
    assert record.closing.outcome is not None
    assert record.closing.outcome.verdict == "derived"


def test_a_sweep_that_goes_on_is_read_again(world: World) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "copy.onnx")
        world.add("later.onnx", copy_rule)
        world.run()
        await pilot.press("r")
        await until(pilot, lambda: "later.onnx" in listed(app))

    drive(desk_of(world), play, size=SIZE)


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    done = run("ui", tmp_path)
    assert done.returncode == 2
    assert "the results of a sweep, got the folder" in done.stderr


def test_the_newest_sweep_of_the_folder_is_one_key_from_compare(world: World) -> None:
    desk = make_desk(world.suspects.parent, trusted=[world.owner])

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await app.push_screen(CompareScreen("0" * 64))
        await shows(pilot, f"w shows the sweep in {world.results.name}.")
        await pilot.press("w")
        await shows(pilot, "broken.onnx")
        assert isinstance(app.screen, SweepScreen)

    drive(desk, play, size=SIZE)


def test_where_there_is_no_sweep_compare_offers_none(tmp_path: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await app.push_screen(CompareScreen("0" * 64))
        await shows(pilot, "No audit of this bundle yet.")
        assert "Sweep" not in text_of(app)
        await pilot.press("w")
        assert isinstance(app.screen, CompareScreen)

    drive(make_desk(make_folder(tmp_path)), play, size=SIZE)


def test_home_lists_the_sweeps_of_its_folder_and_opens_one(world: World) -> None:
    desk = make_desk(world.suspects.parent, trusted=[world.owner])

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "4 Sweeps (1)")
        assert isinstance(app.screen, HomeScreen)
        (found,) = app.screen.query_one(SweepList).items
        assert (found.folder, found.num_asked, found.num_derived) == (world.results, 3, 1)
        await pilot.press("4", "enter")
        await shows(pilot, "broken.onnx")
        assert isinstance(app.screen, SweepScreen)
        # More is asked meanwhile; Home looks again when one comes back.
        world.add("later.onnx", copy_rule)
        world.run()
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HomeScreen))
        await until(pilot, lambda: app.screen.query_one(SweepList).items[0].num_derived == 2)

    drive(desk, play, size=SIZE)


def test_home_has_no_place_for_sweeps_where_there_are_none(tmp_path: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (0)")
        assert "Sweeps" not in text_of(app)
        before = app.focused
        await pilot.press("4")
        assert app.focused is before

    drive(make_desk(make_folder(tmp_path)), play, size=SIZE)


def test_a_sweep_that_cannot_be_read_is_listed_and_says_why_when_opened(world: World) -> None:
    (world.results / TABLE).write_bytes(b"overwritten" * 1000)
    desk = make_desk(world.suspects.parent, trusted=[world.owner])

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "cannot be read")
        await pilot.press("4", "enter")
        await shows(pilot, "results: cannot use")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen))

    drive(desk, play, size=SIZE)
