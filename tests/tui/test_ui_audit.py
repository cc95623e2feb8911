"""From Home to an exported record by keys alone, with a real bundle and real ONNX files."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import AUDITOR_KEY
from worlds.screens.ui_desk import (
    choose_suspect,
    drive,
    make_desk,
    make_folder,
    shows,
    text_of,
    until,
)

from audit.records.verify import Result, verify_record
from audit.signing.keys import Trust
from audit.tui.app import KinprintApp
from audit.tui.screens.home import HomeScreen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


async def choose(pilot: Pilot[None], suspect: str) -> None:
    """Put the cursor on a suspect and open the form."""
    await choose_suspect(pilot, suspect)
    await shows(pilot, "What happens")


async def open_result_of_copy(pilot: Pilot[None]) -> None:
    await choose(pilot, "copy.onnx")
    await pilot.press("ctrl+s")
    await shows(pilot, "DERIVED")
    await pilot.press("enter")
    await shows(pilot, "How sure it is")


def test_from_home_to_an_exported_record_by_keys(folder: Path) -> None:
    record = folder / "evidence.kinrecord"

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose(pilot, "copy.onnx")
        await shows(pilot, "8 control images first, then 24 queries")
        await pilot.press("ctrl+s")
        await shows(pilot, "DERIVED")
        await pilot.press("enter")
        await shows(pilot, "What was done and found")
        await shows(pilot, "1 Verdict")
        await pilot.press("x")
        await shows(pilot, "Export the evidence")
        app.screen.query_one("#record", Input).value = str(record)
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: record.with_suffix(".html").exists())

    drive(make_desk(folder), play)
    trust = Trust(keys=(OWNER_KEY.public_key, AUDITOR_KEY.public_key))
    verified = verify_record(record, folder / "model.kinprint", trust)
    assert verified.result is Result.HOLDS
    assert verified.record is not None
    assert verified.record.closing.outcome is not None
    assert verified.record.closing.outcome.verdict == "derived"
    page = record.with_suffix(".html").read_text("utf-8")
    assert "behaves like a model derived from the source" in page


def test_what_is_typed_last_counts_also_where_start_follows_at_once(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose(pilot, "copy.onnx")
        app.screen.query_one("#budget", Input).value = "14"
        await pilot.press("ctrl+s")
        await shows(pilot, "The budget ended the audit")
        await shows(pilot, "asked 14 of 14")

    drive(make_desk(folder), play)


def test_an_independent_suspect_is_told_so_and_stands_on_home_afterwards(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose(pilot, "stranger.onnx")
        await pilot.press("ctrl+s")
        await shows(pilot, "INDEPENDENT")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HomeScreen))
        await shows(pilot, "○ independent")

    drive(make_desk(folder), play)


def test_wrong_control_answers_show_the_confusion_and_its_likely_cause(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await choose(pilot, "wrong-classes.onnx")
        await pilot.press("ctrl+s")
        await shows(pilot, "NOT COMPARABLE")
        await shows(pilot, "8 of 35")  # no query was asked
        await pilot.press("enter")
        await shows(pilot, "What to look at")
        await shows(pilot, "With the classes in another order 8 of 8 would be right")

    drive(make_desk(folder), play, size=(100, 50))


def test_the_result_pages_say_what_the_verdict_rests_on(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await open_result_of_copy(pilot)
        await pilot.press("2")
        await shows(pilot, "compared with")
        await shows(pilot, "p, adversarially trained")
        await pilot.press("3")
        await shows(pilot, "24 queries")
        await shows(pilot, "■ like the source")
        await pilot.press("4")
        await shows(pilot, "weights, SHA-256")

    drive(make_desk(folder), play, size=(100, 50))


def test_copying_gives_verdict_and_reasons_as_text(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> str:
        await open_result_of_copy(pilot)
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard)
        return app.clipboard

    copied = drive(make_desk(folder), play)
    assert copied.startswith("The suspect behaves like a model derived from the source.")
    assert "What does not follow:" in copied
    assert "bundle " in copied


def test_a_record_needs_a_name(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await open_result_of_copy(pilot)
        await pilot.press("x")
        await shows(pilot, "Export the evidence")
        for name in (" ", "", str(folder)):
            app.screen.query_one("#record", Input).value = name
            await shows(pilot, "✗ which file?")
            await pilot.press("ctrl+s")
            app.screen.query_one("#record", Input).value = "record"
            await until(pilot, lambda: "which file?" not in text_of(app))

    before = set(folder.parent.rglob("*"))
    drive(make_desk(folder), play)
    assert not [path for path in set(folder.parent.rglob("*")) - before if path.suffix == ".html"]


def test_a_record_needs_a_key_and_one_is_made_on_request(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "elsewhere"

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await open_result_of_copy(pilot)
        await pilot.press("x")
        await shows(pilot, "✗ no such key")
        await pilot.press("ctrl+s")  # nothing happens without a key
        await pilot.press("ctrl+g")
        await shows(pilot, "give the .pub to whoever")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: list(folder.glob("*.kinrecord")))

    drive(make_desk(folder, config=config), play)
    assert (config / "auditor.key").stat().st_mode & 0o777 == 0o600
    assert '"auditor_key"' in (config / "ui.json").read_text()
