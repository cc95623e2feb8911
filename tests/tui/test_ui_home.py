"""Home and the form: what is found, what is refused, and what is said about it."""

import os
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input
from worlds.bundle_builder import OWNER_KEY, STRANGER_KEY, golden_members, packed
from worlds.record_builder import GOLDEN_BUNDLE, audited_contents
from worlds.screens.ui_desk import drive, make_desk, make_folder, shows, text_of, until

from audit.bundle.bundle_file import write_bundle
from audit.tui.app import KinprintApp
from audit.tui.library import Library
from audit.tui.order_check import Form, check_form
from audit.tui.preferences import (
    Preferences,
    load_keymap,
    load_preferences,
    save_preferences,
)
from audit.tui.screens.help import HelpScreen
from audit.tui.screens.inspector import InspectorScreen
from audit.tui.screens.new_audit import NewAuditScreen
from audit.tui.widgets.suspect_table import SuspectTable
from generator.demo.server import write_endpoint_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def names(app: KinprintApp) -> list[str]:
    return [found.path.name for found in app.screen.query_one(SuspectTable)._shown]


def other_manifest() -> bytes:
    """The small bundle's manifest with another class name, as if somebody had edited it."""
    return golden_members()["manifest.json"].replace(b'"cat"', b'"cow"')


def test_the_filter_narrows_all_tables_and_escape_shows_everything_again(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "stranger.onnx")
        await pilot.press("slash", *"COPY")
        await until(pilot, lambda: names(app) == ["copy.onnx"])
        assert "model.kinprint" not in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(app)) == 3)

    drive(make_desk(folder), play)


def test_a_suspect_that_was_filtered_for_is_asked_with_the_bundle_that_was_hidden(
    folder: Path,
) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "Press Enter on a suspect")
        await pilot.press("slash", *"copy", "enter")
        await until(pilot, lambda: names(app) == ["copy.onnx"])
        assert "✓ trusted" not in text_of(app)
        await pilot.press("enter")
        await shows(pilot, "What happens")
        assert app.screen.query_one("#bundle", Input).value == "model.kinprint"

    drive(make_desk(folder), play)


def test_a_table_is_sorted_by_column_and_turned_round(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "stranger.onnx")
        await pilot.press("2", "o")
        assert names(app) == ["copy.onnx", "stranger.onnx", "wrong-classes.onnx"]
        await pilot.press("O")
        assert names(app) == ["wrong-classes.onnx", "stranger.onnx", "copy.onnx"]

    drive(make_desk(folder), play)


def test_an_untrusted_bundle_cannot_be_asked_with_until_its_key_is_trusted(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "? untrusted")
        await shows(pilot, "Anybody can have made this bundle")
        await pilot.press("2", "enter")
        await shows(pilot, "signed by a key that is not trusted")
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+t")
        app.screen.query_one("#path", Input).value = str(folder / "owner.pub")
        await pilot.press("enter")
        await shows(pilot, "trusted: audited-test-model")
        await until(pilot, lambda: not app.screen.query_one("#start", Button).disabled)

    drive(make_desk(folder, is_trusted=False), play)


def test_a_bundle_by_another_key_stays_untrusted_beside_a_trusted_one(folder: Path) -> None:
    contents = audited_contents()
    write_bundle(folder / "forged.kinprint", contents.manifest, contents.arrays, STRANGER_KEY)

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "2 Suspects (3)")
        await shows(pilot, "? untrusted")
        await shows(pilot, "✓ trusted")

    drive(make_desk(folder), play)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:2000], "✗ unreadable"),
        (lambda data: packed(manifest=other_manifest()), "✗ invalid"),
        (lambda data: b"", "✗ unreadable"),
    ],
)
def test_a_damaged_bundle_is_listed_with_what_is_wrong(
    folder: Path, damage: "object", told: str
) -> None:
    assert callable(damage)
    (folder / "model.kinprint").write_bytes(damage(GOLDEN_BUNDLE.read_bytes()))

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, told)
        await pilot.press("1", "enter")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))
        await shows(pilot, "✗ This file is no bundle that could be used.")
        await pilot.press("escape", "2", "enter")
        await until(pilot, lambda: isinstance(app.screen, NewAuditScreen))
        await until(pilot, lambda: app.screen.query_one("#row-bundle.-wrong"))

    drive(make_desk(folder), play)


def test_a_bundle_that_is_deleted_disappears_and_the_form_says_so(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.press("2", "enter")
        await shows(pilot, "What happens")
        (folder / "model.kinprint").unlink()
        app.screen.query_one("#budget", Input).value = "20"
        await shows(pilot, "cannot read")
        await pilot.press("escape", "r")
        await shows(pilot, "1 Bundles (0)")

    drive(make_desk(folder), play)


def test_an_empty_folder_offers_the_demo_and_another_folder(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "No bundle in")
        await shows(pilot, "d Demo")
        await pilot.press("d")  # there is no terminal to run it in
        await shows(pilot, "run kinprint demo in a terminal")
        await pilot.press("f")
        app.screen.query_one("#path", Input).value = str(folder)
        await pilot.press("enter")
        await shows(pilot, "✓ trusted")

    desk = make_desk(folder, trusted=[folder / "owner.pub"])
    desk.folder = empty
    drive(desk, play)
    assert load_preferences(desk.config).folder == str(folder)


def test_the_screen_says_when_it_is_too_small_and_comes_back(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.resize_terminal(60, 15)
        await shows(pilot, "This window is 60 x 15.")
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "✓ trusted")
        await pilot.resize_terminal(160, 50)
        await shows(pilot, "3 Audits (0)")

    drive(make_desk(folder), play)


def test_help_names_the_keys_and_what_a_keymap_calls_them(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await shows(pilot, "home.new")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen))

    drive(make_desk(folder), play, size=(100, 60))


def test_the_users_keymap_moves_keys(folder: Path) -> None:
    desk = make_desk(folder)
    (desk.config / "keymap.toml").write_text('"home.inspect" = "f6"\n')

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "✓ trusted")
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, InspectorScreen))

    drive(desk, play, keymap=load_keymap(desk.config))


def test_the_theme_is_remembered_and_no_colours_work_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(folder)

    async def change(app: KinprintApp, pilot: Pilot[None]) -> None:
        app.theme = "kinprint-light"
        await pilot.pause()

    drive(desk, change)
    assert load_preferences(desk.config).theme == "kinprint-light"
    monkeypatch.setenv("NO_COLOR", "1")

    async def look(app: KinprintApp, pilot: Pilot[None]) -> None:
        assert app.theme == "kinprint-light"
        await shows(pilot, "✓ trusted")
        await pilot.press("i", "2")
        await shows(pilot, "Triggers, 3 of 3")
        assert "▀" not in text_of(app)  # pictures in shades, not in half blocks of one colour

    drive(make_desk(folder, preferences=load_preferences(desk.config)), look)


def test_damaged_preferences_cost_nothing_and_an_unwritable_folder_neither(tmp_path: Path) -> None:
    (tmp_path / "ui.json").write_text('{"theme": 7, "folder": "/x", "odd": 1}')
    assert load_preferences(tmp_path) == Preferences(folder="/x")
    (tmp_path / "ui.json").write_text("{")
    assert load_preferences(tmp_path) == Preferences()
    (tmp_path / "file").write_text("")
    save_preferences(tmp_path / "file" / "folder", Preferences(theme="nord"))


FORM = Form(bundle="model.kinprint", suspect="copy.onnx")


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"bundle": ""}, "bundle", "which bundle"),
        ({"bundle": "nowhere.kinprint"}, "bundle", "cannot read"),
        ({"suspect": ""}, "suspect", "which suspect"),
        ({"suspect": "nowhere.onnx"}, "suspect", "no such file"),
        ({"suspect": "owner.pub"}, "suspect", "neither an ONNX file nor"),
        ({"suspect": "broken.toml"}, "suspect", "url"),
        ({"score": "mfue-w", "labels_only": True}, "score", "needs probabilities"),
        ({"alpha": "often"}, "alpha", "expected a rate"),
        ({"alpha": "0.001"}, "alpha", "needs 999 innocent"),
        ({"beta": "2"}, "beta", "at most 0.2"),
        ({"budget": "ten"}, "budget", "expected a whole number"),
        ({"budget": "8"}, "budget", "more than the 8 control images"),
        ({"max_cost": "much"}, "max_cost", "expected an amount"),
        ({"rate": "fast"}, "rate", "expected a rate such as 2.5"),
        ({"max_cost": "-1"}, "max_cost", "more than 0"),
    ],
)
def test_the_form_says_what_is_wrong_by_field(
    folder: Path, changes: dict[str, object], field: str, told: str
) -> None:
    (folder / "broken.toml").write_text('format = "generic"\nurl = "nowhere"\n')
    form = Form(**{"bundle": FORM.bundle, "suspect": FORM.suspect, **changes})  # type: ignore[arg-type]  # by field
    checked = check_form(form, make_desk(folder), Library())
    assert checked.order is None
    assert told in checked.problems[field]


def test_the_form_says_what_an_endpoint_will_cost_before_anything_is_sent(folder: Path) -> None:
    path = folder / "api.toml"
    write_endpoint_file(path, 9, audited_contents().manifest.task.class_names)
    text = path.read_text().replace(
        "timeout_s = 10",
        'timeout_s = 10\nprice_per_request = 0.25\ncurrency = "EUR"\nrequests_per_second = 2',
    )
    path.write_text(text)
    form = Form(bundle="model.kinprint", suspect="api.toml", max_cost="5")
    checked = check_form(form, make_desk(folder), Library())
    assert not checked.problems
    # 8 + 24 requests: 32 x 0.25 = 8; 31 pauses of half a second; 5 / 0.25 = 20 images.
    assert "32 requests" in checked.summary
    assert "costs 8.00 EUR" in checked.summary
    assert "16 s at the endpoint's rate" in checked.summary
    assert "reaches for 20 of them" in checked.summary
    # 31 pauses of a quarter of a second
    faster = Form(bundle="model.kinprint", suspect="api.toml", rate="4")
    assert "8 s at the endpoint's rate" in check_form(faster, make_desk(folder), Library()).summary
    stopped = Form(bundle="model.kinprint", suspect="api.toml", rate="0")
    assert "more than 0" in check_form(stopped, make_desk(folder), Library()).problems["rate"]


def test_a_missing_secret_is_told_in_the_form(folder: Path) -> None:
    path = folder / "api.toml"
    write_endpoint_file(path, 9, audited_contents().manifest.task.class_names)
    path.write_text(path.read_text() + '\n[auth]\nenv = "NO_SUCH_SECRET"\n')
    assert "NO_SUCH_SECRET" not in os.environ
    checked = check_form(
        Form(bundle="model.kinprint", suspect="api.toml"), make_desk(folder), Library()
    )
    assert "NO_SUCH_SECRET" in checked.problems["suspect"]


def test_the_owners_key_is_the_one_that_signed() -> None:
    assert audited_contents().signer_key_id == OWNER_KEY.public_key.key_id


def test_keys_that_come_after_quitting_open_nothing(folder: Path) -> None:
    async def play(app: KinprintApp, pilot: Pilot[None]) -> tuple[int, int]:
        await shows(pilot, "1 Bundles (1)")
        before = len(app.screen_stack)
        # A key that was typed right after q comes while everything is being taken down.
        app.action_leave()
        await app.run_action("app.help")
        return before, len(app.screen_stack)

    before, after = drive(make_desk(folder), play)
    assert after == before


def test_names_of_folders_are_no_markup(tmp_path: Path) -> None:
    odd = tmp_path / "a[" / "b]\x1b[2J[red]"
    odd.mkdir(parents=True)

    async def play(app: KinprintApp, pilot: Pilot[None]) -> None:
        await shows(pilot, "No bundle in")
        app.notify(f"looked into {odd}", title=str(odd))
        await until(pilot, lambda: len(app._notifications) == 1)
        (notification,) = app._notifications
        assert not notification.markup
        assert "\x1b" not in notification.message + notification.title

    drive(make_desk(odd, is_trusted=False), play)
