"""The way between the screens: one step per key, and nothing left lying about."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from worlds.record_builder import audited_contents
from worlds.screens.ui_desk import drive, make_desk, make_folder, shows, until
from worlds.screens.ui_gate import gated

from audit.suspects.found_files import describe_suspect
from audit.tui.app import KinprintApp
from audit.tui.navigation import GoBack, Navigate, OpenInspector, WatchAudit
from audit.tui.running import Order
from audit.tui.screens.help import HelpScreen
from audit.tui.screens.home import HomeScreen
from audit.tui.screens.inspector import InspectorScreen
from audit.tui.screens.live import LiveScreen
from audit.tui.screens.new_audit import NewAuditScreen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def stack(app: KinprintApp) -> list[type[Screen[object]]]:
    """Return the kinds of screens that lie on one another, without Textual's own at the bottom."""
    return [type(screen) for screen in app.screen_stack[1:]]


def test_a_key_that_is_pressed_twice_opens_one_screen(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        home = app.screen
        assert isinstance(home, HomeScreen)
        home.action_inspect()
        home.action_inspect()
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))
        assert stack(app) == [HomeScreen, InspectorScreen]

    drive(make_desk(folder), play)


def test_escape_that_is_pressed_twice_goes_back_once(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))
        inspector = app.screen
        assert isinstance(inspector, InspectorScreen)
        inspector.action_leave()
        inspector.action_leave()
        await until(pilot, lambda: not isinstance(app.screen, InspectorScreen))
        assert stack(app) == [HomeScreen]

    drive(make_desk(folder), play)


def test_a_screen_that_gives_way_is_not_gone_back_to(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        await pilot.press("i")
        await until(pilot, lambda: stack(app) == [HomeScreen, InspectorScreen])
        await pilot.press("n")
        await until(pilot, lambda: stack(app) == [HomeScreen, NewAuditScreen])
        await pilot.press("escape")
        await until(pilot, lambda: stack(app) == [HomeScreen])

    drive(make_desk(folder), play)


def test_an_audit_that_is_left_takes_the_help_that_lies_on_it_along(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        suspect = describe_suspect(folder / "api.toml")
        assert suspect is not None
        order = Order(
            bundle=audited_contents(), bundle_path=folder / "model.kinprint", suspect=suspect
        )
        app.post_message(Navigate(app.screen, WatchAudit(order=order)))
        await shows(pilot, "asked 3 of 32")
        await pilot.press("escape")
        await shows(pilot, "Stop this audit?")
        await pilot.press("y")
        await shows(pilot, "stopping: waiting for answers that are under way")
        await pilot.press("question_mark")
        await until(pilot, lambda: stack(app) == [HomeScreen, LiveScreen, HelpScreen])
        gate.open()
        await until(pilot, lambda: stack(app) == [HomeScreen])

    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), play, at_end=gate.open)


def test_a_screen_that_is_not_in_front_leads_nowhere(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        home = app.screen
        await pilot.press("question_mark")
        await until(pilot, lambda: stack(app) == [HomeScreen, HelpScreen])
        app.post_message(Navigate(home, OpenInspector(bundle_path=folder / "model.kinprint")))
        await pilot.pause()
        assert stack(app) == [HomeScreen, HelpScreen]

    drive(make_desk(folder), play)


def test_nothing_opens_after_quitting(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> int:
        await shows(pilot, "Press Enter on a suspect")
        home = app.screen
        app.action_leave()
        app.on_navigate(Navigate(home, OpenInspector(bundle_path=folder / "model.kinprint")))
        app.on_navigate(Navigate(home, GoBack()))
        return len(stack(app))

    assert drive(make_desk(folder), play) == 1
