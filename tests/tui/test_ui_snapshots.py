"""Every screen at 80 x 24 and 140 x 45, as committed pictures."""

import itertools
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from worlds.raw_sql import run_sql
from worlds.record_builder import audited_contents, finish_audit
from worlds.screens.ui_desk import drive, make_desk, make_folder, shows, until
from worlds.screens.ui_snapshots import check_snapshot
from worlds.sweep_world import World

from audit.journal.journal import Journal
from audit.suspects.found_files import describe_suspect
from audit.suspects.opening import open_file
from audit.sweep.run import TABLE
from audit.tui.app import KinprintApp
from audit.tui.desk import Desk
from audit.tui.running import Order
from audit.tui.screens.help import HelpScreen
from audit.tui.screens.live import LiveScreen
from audit.tui.screens.sweep import SweepScreen
from audit.tui.widgets.facts import Facts
from audit.tui.widgets.plots.meters import Meters

STARTED = 1_735_732_800.0
"""2025-01-01T12:00:00Z"""
SUSPECTS = ("copy", "stranger", "wrong-classes")
METERS = (("asked", "35 of 35"), ("for", "0.4 s"), ("rate", "88/s"), ("retries", "0"))
"""What depends on the machine, as it might be."""


STEADY = {
    "file": "model.kinprint",
    "latency": "median 0.2 ms, at most 1.5 ms",
    "longest silence": "0.004 s between two questions",
    "started": "2025-01-01T14:00:00Z",
    "ended": "2025-01-01T14:00:01Z",
    "onnxruntime": "1.2.3",
    "python": "3.12.0",
    "system": "Linux x86_64",
}
"""Facts that depend on the machine, as they might be."""
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def make_facts_steady(app: KinprintApp) -> None:
    """Replace what depends on the machine, the libraries, or the moment."""
    for facts in app.screen.query(Facts):
        is_versions = "python" in dict(facts.rows)
        facts.rows = tuple(
            (name, STEADY.get(name, "1.2.3" if is_versions else DIGEST.sub("5a" * 32, value)))
            for name, value in facts.rows
            if not (is_versions and name.startswith("onnxruntime"))  # another one for CUDA
        )


@pytest.fixture(
    params=[(80, 24), pytest.param((140, 45), marks=pytest.mark.long)], ids=["80x24", "140x45"]
)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    width, height = request.param
    return width, height


def set_steady_ids(patch: pytest.MonkeyPatch, start: int) -> None:
    numbers = itertools.count(start)
    patch.setattr("audit.journal.journal.secrets.token_hex", lambda _: f"{next(numbers):016x}")


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk's files with three audits whose times and ids are the same everywhere."""
    parent = tmp_path_factory.mktemp("audited")
    folder = make_folder(parent)
    made = make_desk(folder)
    bundle, journal = audited_contents(), Journal(made.journal)
    for number, name in enumerate(SUSPECTS):
        suspect = open_file(bundle, folder / f"{name}.onnx", device="cpu")
        with pytest.MonkeyPatch.context() as patch:
            set_steady_ids(patch, number + 1)
            try:
                audit = finish_audit(journal, suspect, bundle)  # type: ignore[arg-type]  # any suspect
            finally:
                suspect.close()
        start = STARTED + 3600 * number
        run_sql(made.journal, "UPDATE audits SET started = ? WHERE id = ?", start, audit)
    journal.close()
    return parent


@pytest.fixture
def desk(audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The desk at a place that looks the same everywhere."""
    set_steady_ids(monkeypatch, len(SUSPECTS) + 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    shutil.copytree(audited, tmp_path, dirs_exist_ok=True)
    yield make_desk(tmp_path / "desk")
    monkeypatch.undo()
    time.tzset()


def order_for(desk: Desk, suspect: str) -> Order:
    found = describe_suspect(desk.folder / suspect)
    assert found is not None
    return Order(
        bundle=audited_contents(), bundle_path=desk.folder / "model.kinprint", suspect=found
    )


async def check(app: KinprintApp, pilot: Pilot[None], name: str, size: tuple[int, int]) -> None:
    await check_snapshot(app, pilot, f"{size[0]}x{size[1]}/{name}")


def test_home(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await check(app, pilot, "home", size)

    drive(desk, play, size=size)


def test_home_in_light_colours(desk: Desk) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await check(app, pilot, "home-light", (80, 24))

    drive(desk, play, size=(80, 24), theme="light")


def test_home_in_the_terminals_own_colours(desk: Desk) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await check(app, pilot, "home-terminal", (80, 24))

    drive(desk, play, size=(80, 24), theme="terminal")


def test_new_audit(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("2", "enter")
        await shows(pilot, "What happens")
        app.screen.query_one("#alpha", Input).value = "0.001"
        await shows(pilot, "✗ alpha: 0.001 needs 999")
        await check(app, pilot, "new-audit", size)

    drive(desk, play, size=size)


@pytest.mark.parametrize(
    ("suspect", "verdict"), [("copy", "DERIVED"), ("wrong-classes", "NOT COMPARABLE")]
)
def test_live(desk: Desk, size: tuple[int, int], suspect: str, verdict: str) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = LiveScreen(order_for(desk, f"{suspect}.onnx"))
        await app.push_screen(screen)
        await shows(pilot, verdict)
        screen.query_one(Meters).values = METERS
        await check(app, pilot, f"live-{suspect}", size)

    drive(desk, play, size=size)


def test_result(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("3", "down", "down", "enter")
        await shows(pilot, "DERIVED")
        await until(pilot, lambda: app.screen.query("#answers-split"))
        await check(app, pilot, "result-verdict", size)
        make_facts_steady(app)
        for key, page in (("2", "scores"), ("3", "answers"), ("4", "origin")):
            await pilot.press(key)
            await check(app, pilot, f"result-{page}", size)

    drive(desk, play, size=size)


def test_export(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("3", "down", "down", "enter")
        await until(pilot, lambda: app.screen.query("#answers-split"))
        await pilot.press("x")
        await shows(pilot, "Export the evidence")
        # Where the files go depends on the machine.
        app.screen.query_one("#record", Input).value = "copy.kinrecord"
        app.screen.query_one("#key", Input).value = "owner.pub"
        await check(app, pilot, "export", size)

    drive(desk, play, size=size)


def test_inspector(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("i")
        await until(pilot, lambda: app.screen.query("#budget-plot"))
        make_facts_steady(app)
        for key, page in (
            ("1", "manifest"),
            ("2", "images"),
            ("3", "references"),
            ("4", "queries"),
        ):
            await pilot.press(key)
            await check(app, pilot, f"bundle-{page}", size)

    drive(desk, play, size=size)


def test_compare(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("c")
        await shows(pilot, "3 audits of audited-test-model")
        await check(app, pilot, "compare", size)

    drive(desk, play, size=size)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a sweep whose times are the same everywhere."""
    world = World(tmp_path_factory.mktemp("swept"))
    world.add_some()
    (world.suspects / "broken.onnx").write_bytes(b"no model at all")
    world.run()
    with closing(sqlite3.connect(world.results / TABLE, isolation_level=None)) as table:
        table.execute("UPDATE pairs SET ended = ?", (STARTED,))
    return world.results


def test_home_with_a_sweep(desk: Desk, swept: Path, size: tuple[int, int]) -> None:
    shutil.copytree(swept, desk.folder / "june")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "4 Sweeps (1)")
        await pilot.press("4")
        await check(app, pilot, "home-sweeps", size)

    drive(desk, play, size=size)


def test_sweep(desk: Desk, swept: Path, size: tuple[int, int]) -> None:
    results = shutil.copytree(swept, desk.folder.parent / "results")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await app.push_screen(SweepScreen(results))
        await shows(pilot, "broken.onnx")
        await check(app, pilot, "sweep", size)

    drive(desk, play, size=size)


def test_help(desk: Desk, size: tuple[int, int]) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (3)")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await check(app, pilot, "help", size)

    drive(desk, play, size=size)


def test_too_small(desk: Desk) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "This window is 50 x 12.")
        await check(app, pilot, "too-small", (50, 12))

    drive(desk, play, size=(50, 12))
