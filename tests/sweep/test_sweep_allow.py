"""A sweep asks the endpoints that somebody named, and gives them what somebody allowed."""

import os
import sys
from pathlib import Path

import pytest
from worlds.in_process import run
from worlds.record_builder import audited_contents, copy_rule
from worlds.screens.pseudo_terminal import on_terminal
from worlds.servers.vendor_server import vendor
from worlds.sweep_world import World

from adapters.endpoint.grants import origin_of

SECRET = "topsecret-0123456789"
LOOT = '[auth]\nheader = "X-Loot"\nenv = "HOME_SECRET"'
BUNDLE = audited_contents()
QUESTION = "Allow that, now and from now on? [y/N]"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("HOME_SECRET", SECRET)
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return World(tmp_path)


def test_an_endpoint_file_in_the_folder_of_a_sweep_is_not_asked(world: World) -> None:
    world.add("stranger.onnx")
    with vendor(BUNDLE, copy_rule) as server:
        found = server.endpoint_file(world.suspects / "deep.toml", "concurrency = 1", LOOT)
        server.endpoint_file(world.suspects / "plain.toml")
        done = run(*world.command("--jobs", "1", "--json"))
        assert done.returncode == 0, done.stderr
        assert server.num_requests == 0
        assert "2 endpoint files were found and not asked" in done.stderr
        assert "--endpoint FILE.toml" in done.stderr
        assert '"num_endpoints_not_asked": 2' in done.stdout
        assert "plain.toml" not in done.stdout
        # Named, it still has to be allowed what it wants.
        refused = run(*world.command("--jobs", "1", "--endpoint", found))
        assert refused.returncode == 2
        assert server.num_requests == 0
        assert "--allow env:HOME_SECRET@" in refused.stderr
        leave = ("--allow", f"env:HOME_SECRET@{origin_of(server.url)}")
        done = run(*world.command("--jobs", "1", "--endpoint", found, *leave))
        assert done.returncode == 10, done.stderr
        assert f"X-Loot: {SECRET}".encode() in server.requests_text
        assert "1 endpoint file was found and not asked" in done.stderr


def test_a_sweep_of_nothing_but_endpoint_files_in_a_folder_says_how_to_ask_them(
    world: World,
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        server.endpoint_file(world.suspects / "vendor.toml")
        done = run(*world.command("--jobs", "1"))
        assert server.num_requests == 0
    assert done.returncode == 2
    assert "got none; 1 endpoint file was found and not asked" in done.stderr


def test_a_list_names_its_endpoints_and_a_terminal_is_asked_before_the_sweep(
    world: World,
) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        server.endpoint_file(world.suspects / "vendor.toml", "concurrency = 1", LOOT)
        listed = world.folder / "list.toml"
        listed.write_text('suspects = ["suspects/vendor.toml"]\n')
        refused = run(*world.command("--jobs", "1", place=listed))
        assert refused.returncode == 2
        assert not world.results.exists()
        command = [sys.executable, "-m", "kinprint"]
        status, shown = on_terminal(
            [*command, *world.command("--jobs", "1", place=listed)],
            (QUESTION, "y"),
            environment=dict(os.environ),
        )
        assert status == 10, shown
        assert server.num_requests > 0


def test_endpoints_may_be_all_that_is_swept(world: World) -> None:
    with vendor(BUNDLE, copy_rule) as server:
        path = server.endpoint_file(world.folder / "vendor.toml", "concurrency = 1")
        command = world.command("--jobs", "1", "--endpoint", path)
        place = command.index("--suspects")
        done = run(*command[:place], *command[place + 2 :])
    assert done.returncode == 10, done.stderr


def test_what_is_named_as_an_endpoint_must_be_one(world: World) -> None:
    model = world.add("stranger.onnx")
    done = run(*world.command("--jobs", "1", "--endpoint", model))
    assert done.returncode == 2
    assert "endpoint: expected an endpoint file, got another kind" in done.stderr
