"""The live screen: pause, stop, budget, slow and failing endpoints, quitting in the middle."""

import gc
import sqlite3
import threading
import time
from pathlib import Path

import onnx
import pytest
from textual.pilot import Pilot
from worlds.record_builder import audited_contents, innocent_rule
from worlds.screens.ui_desk import answering_model, drive, make_desk, make_folder, shows, until
from worlds.screens.ui_gate import gated, write_patient_endpoint
from worlds.servers.http_faults import Reply, scripted_server

from audit.asking.events import Answered
from audit.asking.second_questions import NUM_FIRST
from audit.suspects.found_files import describe_suspect
from audit.tui.app import KinprintApp
from audit.tui.dialogs.confirm import Confirm
from audit.tui.live_state import Phase
from audit.tui.running import Order
from audit.tui.screens.home import HomeScreen
from audit.tui.screens.live import LiveScreen
from audit.tui.widgets.image_pair import ImagePair
from audit.tui.widgets.query_grid import QueryGrid

NUM_QUESTIONS = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def order_for(folder: Path, suspect: str) -> Order:
    found = describe_suspect(folder / suspect)
    assert found is not None
    return Order(
        bundle=audited_contents(),
        bundle_path=folder / "model.kinprint",
        suspect=found,
    )


async def begin(app: KinprintApp, order: Order) -> LiveScreen:
    screen = LiveScreen(order)
    await app.push_screen(screen)
    return screen


def num_answers(folder: Path) -> int:
    with sqlite3.connect(folder.parent / "journal.sqlite") as database:
        (num,) = database.execute("SELECT count(*) FROM answers").fetchone()
    database.close()
    return int(num)


def num_answered(screen: LiveScreen) -> int:
    return screen._state.num_answered


def test_a_slow_endpoint_is_paused_goes_on_and_ends(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 5)
        await pilot.press("p")
        await shows(pilot, "pausing: waiting for answers that are under way")
        gate.open()
        await shows(pilot, "‖ paused: p goes on")
        await shows(pilot, f"6 of {NUM_QUESTIONS}")
        await pilot.pause(0.3)
        assert gate.num_asked == num_answers(folder) == 6
        await pilot.press("p")
        await shows(pilot, "DERIVED")
        assert num_answers(folder) == NUM_QUESTIONS

    with gated(folder, "copy") as gate:
        gate.let(5)
        drive(make_desk(folder), play, at_end=gate.open)


def test_a_stopped_audit_goes_on_and_asks_nothing_twice(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 12)
        await pilot.press("s")
        await shows(pilot, "stopping: waiting for answers that are under way")
        gate.open()
        await shows(pilot, "‖ stopped; every answer is kept")
        assert gate.num_asked == num_answers(folder) == 13
        await pilot.press("g")
        await shows(pilot, "INDEPENDENT")
        # nothing twice but the first three queries, before anybody is cleared
        assert gate.num_asked == num_answers(folder) == NUM_QUESTIONS + NUM_FIRST

    with gated(folder, "stranger") as gate:
        gate.let(12)
        drive(make_desk(folder), play, at_end=gate.open)


def test_the_standing_and_its_two_lines_are_shown_while_it_asks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After every answer, instead of now and then.
    monkeypatch.setattr("audit.tui.running.STANDING_EVERY_S", 0.0)
    monkeypatch.setattr("audit.asking.standings._SHARE", 1e9)

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await begin(app, order_for(folder, "api.toml"))
        await shows(pilot, "after 22 of 24")
        await shows(pilot, "so far")
        await shows(pilot, "derived above +0")
        await shows(pilot, "■ like the source")

    with gated(folder, "copy") as gate:
        gate.let(8 + 22)
        drive(make_desk(folder), play, at_end=gate.open)


def test_answers_that_come_while_the_screen_is_busy_are_taken_in_their_order(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 1)

        def tell(num: int) -> None:
            question = screen.query_one(QueryGrid).questions[num - 1]
            screen._outbox.add(
                Answered(questions=(question,), labels=(0,), num_questions=32, num_answered=num)
            )

        # The loop gets to nothing in between: the first is announced, the others are not yet.
        screen._outbox._announced = 0.0
        for num in (2, 3, 4):
            thread = threading.Thread(target=tell, args=(num,))
            thread.start()
            thread.join()
        screen._tick()
        await pilot.pause()
        await pilot.pause()
        assert num_answered(screen) == 4

    with gated(folder, "copy") as gate:
        gate.let(1)
        drive(make_desk(folder), play, at_end=gate.open)


def test_at_the_end_the_newest_question_is_the_one_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.tui.screens.live.LOOK_EVERY_S", 1e9)

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "copy.onnx"))
        await shows(pilot, "DERIVED")
        newest = screen._state.newest
        assert screen.query_one(QueryGrid).chosen == newest
        looked = screen.query_one(ImagePair).looked
        assert looked is not None
        assert looked.title == str(newest).replace("/", " ")

    drive(make_desk(folder), play)


def test_a_budget_that_is_too_small_can_be_raised(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await begin(app, order_for(folder, "copy.onnx").with_budget(14))
        await shows(pilot, "The budget ended the audit before it could decide: b asks more.")
        await pilot.press("b")
        await shows(pilot, "Ask at most how many images")
        await pilot.press(*["backspace"] * 3, "9", "enter")
        await shows(pilot, "expected 15 or more")
        await pilot.press("backspace", "3", "2", "enter")
        await shows(pilot, "DERIVED")

    drive(make_desk(folder), play)
    assert num_answers(folder) == NUM_QUESTIONS


def test_a_budget_is_raised_while_the_audit_asks(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml").with_budget(20))
        await until(pilot, lambda: num_answered(screen) == 5)
        await pilot.press("b")
        await shows(pilot, "Ask at most how many images")
        await pilot.press(*["backspace"] * 3, "3", "2", "enter")
        await shows(pilot, "stopping: waiting for answers that are under way")
        gate.open()
        await shows(pilot, "DERIVED")
        assert gate.num_asked == num_answered(screen) == NUM_QUESTIONS

    with gated(folder, "copy") as gate:
        gate.let(5)
        drive(make_desk(folder), play, at_end=gate.open)


def test_a_failing_endpoint_says_why_and_keeps_the_answers(folder: Path) -> None:
    labels = [audited_contents().manifest.task.class_names[i % 4] for i in range(8)]
    replies = [Reply(body=f'{{"label": "{label}"}}'.encode()) for label in labels[:5]]

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: screen._state.phase is Phase.FAILED)
        await shows(pilot, "5 answers are kept: g goes on")
        await shows(pilot, "got status 500")
        assert num_answers(folder) == 5

    with scripted_server(*replies, Reply(status=500)) as server:
        port = server.server_address[1]
        write_patient_endpoint(folder / "api.toml", port, fields="retries = 0")
        drive(make_desk(folder), play)


def test_an_endpoint_that_never_answers_can_be_broken_off(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await shows(pilot, "silent for")
        await pilot.press("s")
        await shows(pilot, "stopping: waiting for answers that are under way")
        await pilot.press("s")
        await until(pilot, lambda: not screen.is_asking)
        assert num_answered(screen) == 0
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    with scripted_server(Reply(status=503, headers={"Retry-After": "110"})) as server:
        write_patient_endpoint(folder / "api.toml", server.server_address[1])
        start = time.monotonic()
        drive(make_desk(folder), play)
        assert time.monotonic() < start + 110  # it waited for no pause to end


def test_leaving_in_the_middle_asks_and_keeps_the_journal(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 3)
        await pilot.press("q")
        await shows(pilot, "Stop this audit and quit?")
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("escape")
        await shows(pilot, "Stop this audit?")
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await shows(pilot, "stopping: waiting for answers that are under way")
        gate.open()
        await until(pilot, lambda: isinstance(app.screen, HomeScreen))
        await shows(pilot, "‖ interrupted")

    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), play, at_end=gate.open)
    assert num_answers(folder) == 4


def test_an_interrupted_audit_goes_on_from_home(folder: Path) -> None:
    async def stop(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 3)
        await pilot.press("q")
        await shows(pilot, "Stop this audit and quit?")
        await pilot.press("y")
        await shows(pilot, "stopping: waiting for answers that are under way")
        gate.open()
        await until(pilot, lambda: not app.is_running)

    async def go_on(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "‖ interrupted")
        await pilot.press("3", "enter")
        await shows(pilot, "The audit was interrupted; there is no result.")
        await pilot.press("g")
        await shows(pilot, "answers (interrupted)")
        await shows(pilot, "[x] with the unfinished audit")
        await pilot.press("ctrl+s")
        await shows(pilot, "DERIVED")

    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), stop, at_end=gate.open)
        assert num_answers(folder) == 4
        drive(make_desk(folder), go_on, at_end=gate.open)
    assert num_answers(folder) == NUM_QUESTIONS


def test_a_suspect_file_that_changes_during_the_audit_changes_nothing(folder: Path) -> None:
    """The audit asks its own copy of the file, whose digest goes into the record."""

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "copy.onnx"))
        await until(pilot, lambda: screen._suspect is not None)
        onnx.save(answering_model(innocent_rule), folder / "copy.onnx")
        await shows(pilot, "DERIVED")

    drive(make_desk(folder), play)


def test_a_suspect_file_that_changed_is_another_suspect(folder: Path) -> None:
    async def stop(app: KinprintApp, pilot: Pilot[None]) -> None:
        await begin(app, order_for(folder, "copy.onnx").with_budget(14))
        await shows(pilot, "The budget ended the audit")

    async def go_on(app: KinprintApp, pilot: Pilot[None]) -> None:
        await begin(app, order_for(folder, "copy.onnx").resuming())
        await shows(pilot, "no unfinished audit of copy.onnx")

    drive(make_desk(folder), stop)
    onnx.save(answering_model(innocent_rule), folder / "copy.onnx")
    drive(make_desk(folder), go_on)


def test_a_bundle_that_is_deleted_while_it_is_asked_does_no_harm(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 3)
        (folder / "model.kinprint").unlink()
        gate.open()
        await shows(pilot, "DERIVED")
        await pilot.press("enter")
        await shows(pilot, "How sure it is")

    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), play, size=(100, 50), at_end=gate.open)


def test_two_screens_on_one_journal_see_each_others_audits(folder: Path) -> None:
    async def other(app: KinprintApp, pilot: Pilot[None]) -> None:
        await begin(app, order_for(folder, "copy.onnx"))
        await shows(pilot, "DERIVED")

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "3 Audits (0)")
        second = KinprintApp(make_desk(folder))
        async with second.run_test(size=(100, 32)) as second_pilot:
            await other(second, second_pilot)
        await pilot.press("r")
        await shows(pilot, "3 Audits (1)")

    drive(make_desk(folder), play)


def test_the_screen_says_what_was_spent_also_by_earlier_runs(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        # Five answers, and a request that is under way: 6 x 0.25.
        await until(pilot, lambda: num_answered(screen) == 5)
        await shows(pilot, "spent 1.50 EUR")
        await pilot.press("s")
        gate.let(1)
        await shows(pilot, "‖ stopped; every answer is kept")
        await pilot.press("g")
        await shows(pilot, "spent 1.75 EUR")
        gate.open()
        await shows(pilot, "DERIVED")
        await shows(pilot, "spent 8.00 EUR")

    prices = 'price_per_request = 0.25\ncurrency = "EUR"'
    with gated(folder, "copy", fields=prices) as gate:
        gate.let(5)
        drive(make_desk(folder), play, at_end=gate.open)


def test_keys_are_answered_while_the_suspect_is_silent(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 3)
        await pilot.press("end")
        await shows(pilot, "Not asked yet.")
        await pilot.press("home")
        await shows(pilot, "control image")
        assert num_answered(screen) == 3
        await pilot.press("f")
        await until(pilot, lambda: screen.query_one(QueryGrid).chosen == screen._state.newest)
        gate.open()

    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), play, at_end=gate.open)


def test_a_collection_of_garbage_looks_only_at_what_an_audit_made(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        screen = await begin(app, order_for(folder, "api.toml"))
        await until(pilot, lambda: num_answered(screen) == 3)
        assert gc.get_freeze_count() > 10 * len(gc.get_objects())

    before = gc.get_freeze_count()
    with gated(folder, "copy") as gate:
        gate.let(3)
        drive(make_desk(folder), play, at_end=gate.open)
    assert gc.get_freeze_count() == before


def test_a_key_costs_little_while_an_audit_runs_at_full_speed(folder: Path) -> None:
    """Counted in the screen's own time on the processor, which a busy machine does not change."""
    slowest_s = 0.0

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        nonlocal slowest_s
        for _ in range(3):
            screen = await begin(app, order_for(folder, "copy.onnx"))
            await shows(pilot, "24 queries")
            for position in range(20):
                start = time.thread_time()
                screen.query_one(QueryGrid).action_jump(position)
                await pilot._wait_for_screen()
                slowest_s = max(slowest_s, time.thread_time() - start)
            await shows(pilot, "DERIVED")

    drive(make_desk(folder), play)
    assert slowest_s < 0.5
