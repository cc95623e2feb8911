"""On the screen, too, an endpoint file gets only what its user has allowed for its host."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from worlds.record_builder import audited_contents, copy_rule
from worlds.screens.ui_desk import drive, make_desk, make_folder, shows, until
from worlds.servers.vendor_server import vendor

from adapters.endpoint.grants import origin_of
from audit.suspects.allow_list import load_grants
from audit.suspects.found_files import describe_suspect
from audit.tui.app import KinprintApp
from audit.tui.dialogs.confirm import Confirm
from audit.tui.library import Library
from audit.tui.order_check import Form, check_form
from audit.tui.running import needs_of
from audit.tui.screens.live import LiveScreen
from audit.tui.screens.new_audit import NewAuditScreen

SECRET = "topsecret-0123456789"
LOOT = '[auth]\nheader = "X-Loot"\nenv = "HOME_SECRET"'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME_SECRET", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return make_folder(tmp_path)


async def started(pilot: Pilot[None]) -> None:
    """Press Start once the form has been looked at."""
    await shows(pilot, "What happens")
    await pilot.press("ctrl+s")


def test_a_secret_is_sent_after_a_yes_and_asked_for_once(folder: Path) -> None:
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(folder / "api.toml", "concurrency = 1", LOOT)

        async def allow(app: KinprintApp, pilot: Pilot[None]) -> None:
            await shows(pilot, "Start asks you first: api.toml wants to use the environment")
            await started(pilot)
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await shows(pilot, "Let api.toml use this?")
            await shows(pilot, "in the header X-Loot")
            await pilot.press("enter")  # the harmless answer has the focus
            await until(pilot, lambda: isinstance(app.screen, NewAuditScreen))
            assert not load_grants()
            await started(pilot)
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert server.num_requests == 0
            await pilot.press("y")
            # What it will ask and cost is told before the audit begins.
            await shows(pilot, "asks at most 32 images")
            assert server.num_requests == 0
            await pilot.press("ctrl+s")
            await shows(pilot, "DERIVED")

        async def again(app: KinprintApp, pilot: Pilot[None]) -> None:
            await started(pilot)
            await until(pilot, lambda: isinstance(app.screen, LiveScreen))
            await shows(pilot, "DERIVED")

        desk = make_desk(folder, first_bundle=folder / "model.kinprint", first_suspect=path)
        drive(desk, allow)
        assert f"X-Loot: {SECRET}".encode() in server.requests_text
        assert [str(grant) for grant in load_grants()] == [
            f"env:HOME_SECRET@{origin_of(server.url)}"
        ]
        desk = make_desk(folder, first_bundle=folder / "model.kinprint", first_suspect=path)
        drive(desk, again)


def test_what_was_allowed_on_the_command_line_counts_on_the_screen(folder: Path) -> None:
    with vendor(audited_contents(), copy_rule) as server:
        server.endpoint_file(folder / "api.toml", "concurrency = 1", LOOT)
        form = Form(bundle="model.kinprint", suspect="api.toml")
        desk = make_desk(folder, allow=[f"env:HOME_SECRET@{origin_of(server.url)}"])
        checked = check_form(form, desk, Library())
        assert "at most 32 images" in checked.summary
        assert checked.order is not None
        assert needs_of(checked.order, desk) == ()


def test_a_host_in_the_private_network_is_asked_for_at_the_start(folder: Path) -> None:
    with vendor(audited_contents(), copy_rule) as server:
        path = server.endpoint_file(folder / "api.toml", "concurrency = 1")
        path.write_text(path.read_text().replace("127.0.0.1", "127.1"))
        desk = make_desk(folder)
        checked = check_form(Form(bundle="model.kinprint", suspect="api.toml"), desk, Library())
        assert checked.order is not None  # nothing is looked up while one types
        needs = needs_of(checked.order, desk)
        assert [str(need.grant) for need in needs] == ["address:127.1"]
        assert desk.grant(needs) == ""
        assert needs_of(checked.order, make_desk(folder)) == ()


def test_a_yes_that_cannot_be_remembered_counts_until_the_screen_closes(folder: Path) -> None:
    (folder.parent / "settings").write_text("a file where the folder should be")
    with vendor(audited_contents(), copy_rule) as server:
        server.endpoint_file(folder / "api.toml", "concurrency = 1", LOOT)
        desk = make_desk(folder)
        checked = check_form(Form(bundle="model.kinprint", suspect="api.toml"), desk, Library())
        assert checked.order is not None
        assert "cannot write" in desk.grant(needs_of(checked.order, desk))
        assert needs_of(checked.order, desk) == ()
        assert needs_of(checked.order, make_desk(folder)) != ()


def test_listing_a_folder_reads_no_secret(folder: Path) -> None:
    (folder / "api.toml").write_text(
        'format = "generic"\nurl = "https://stranger.example/v1"\n'
        '[auth]\nfile = "none"\n[request]\nraw = true\n[answer]\nlabel = "label"\n'
    )
    found = describe_suspect(folder / "api.toml")
    assert found is not None
    assert (found.target, found.problem) == ("https://stranger.example/v1", "")
