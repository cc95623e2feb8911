"""The screen with a bundle of another method than MFUE: inspect, audit, look at the result."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from worlds.fingerprint_builder import SCORES, fingerprint_bundle
from worlds.long_runs import first
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
from audit.tui.screens.inspector import InspectorScreen


@pytest.fixture(params=first(1, SCORES))
def score(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, score: str) -> Path:
    made = make_folder(tmp_path)
    fingerprint_bundle(made / "model.kinprint", score)
    return made


def test_the_inspector_shows_such_a_bundle(folder: Path, score: str) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))
        await shows(pilot, f"decides by {score}")
        await pilot.press("2")
        await shows(pilot, "carrier, query, difference x 15")
        assert "Triggers" not in text_of(app)
        if score == "trajectory-rate":
            await shows(pilot, "group 0")
        await pilot.press("4")
        if score == "matching-rate":
            await shows(pilot, "Derived models above every innocent one")
        else:
            await shows(pilot, "No curve")

    drive(make_desk(folder), play, size=(100, 50))


def test_an_audit_with_such_a_bundle_runs_and_its_result_can_be_looked_at(
    folder: Path, score: str
) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose_suspect(pilot, "copy.onnx")
        await shows(pilot, "8 control images first, then 24 queries")
        await pilot.press("ctrl+s")
        await shows(pilot, "DERIVED")
        await pilot.press("enter")
        await shows(pilot, "How sure it is")
        await shows(pilot, "It gave the source's own")
        await pilot.press("2")
        await shows(pilot, "compared with")
        await shows(pilot, score)
        await pilot.press("3")
        await shows(pilot, "24 queries")
        await pilot.press("4")
        await shows(pilot, "weights, SHA-256")

    drive(make_desk(folder), play, size=(100, 60))
